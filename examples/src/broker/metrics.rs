//! Counters and times for Prometheus. Labels are routes, statuses, classes and codes of ours: never an agent's
//! name, and never text of a request.

use std::time::Duration;

use agentkeys_core::jose::TablesHealth;
use agentkeys_federation::DataClass;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::Failure;

/// The broker's metrics, in a registry of their own.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    issued: IntCounterVec,
    refused: IntCounterVec,
    audit: IntCounterVec,
    pub(crate) in_flight: IntGauge,
    pub(crate) connections: IntGauge,
    tables: IntGauge,
    wrongly_accepted: IntGauge,
    wrongly_refused: IntGauge,
}

impl Metrics {
    pub(crate) fn new() -> Result<Self, Failure> {
        let counter =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let seconds = HistogramOpts::new("agentkeys_http_request_seconds", "Time to answer, by route")
            .buckets(BUCKETS.to_vec());
        let metrics = Self {
            registry: Registry::new(),
            requests: counter(
                "agentkeys_http_requests_total",
                "Answers, by route and status",
                &["route", "status"],
            )?,
            seconds: HistogramVec::new(seconds, &["route"])?,
            issued: counter("agentkeys_issued_total", "What was let go", &["what", "class"])?,
            refused: counter("agentkeys_refused_total", "Refusals, by code", &["reason"])?,
            audit: counter(
                "agentkeys_audit_appends_total",
                "Rows of the audit log, by outcome",
                &["outcome"],
            )?,
            in_flight: IntGauge::new("agentkeys_http_in_flight", "Requests that are being answered")?,
            connections: IntGauge::new("agentkeys_connections", "Open connections")?,
            tables: IntGauge::new("agentkeys_key_tables", "Session keys that have their table")?,
            wrongly_accepted: IntGauge::new(
                "agentkeys_key_tables_wrongly_accepted",
                "Signatures that a table accepted and the cryptographic library refuses: an incident",
            )?,
            wrongly_refused: IntGauge::new(
                "agentkeys_key_tables_wrongly_refused",
                "Signatures that a table refused and the cryptographic library accepts",
            )?,
        };
        for collector in [&metrics.requests, &metrics.issued, &metrics.refused, &metrics.audit] {
            metrics.registry.register(Box::new(collector.clone()))?;
        }
        metrics.registry.register(Box::new(metrics.seconds.clone()))?;
        for gauge in [
            &metrics.in_flight,
            &metrics.connections,
            &metrics.tables,
            &metrics.wrongly_accepted,
            &metrics.wrongly_refused,
        ] {
            metrics.registry.register(Box::new(gauge.clone()))?;
        }
        Ok(metrics)
    }

    pub(crate) fn answered(&self, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[route, digits(status).as_str()]).inc();
        self.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    pub(crate) fn issued(&self, what: &'static str, class: Option<DataClass>) {
        self.issued.with_label_values(&[what, class.map_or("", DataClass::as_str)]).inc();
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(crate) fn appended(&self, outcome: &'static str) {
        self.audit.with_label_values(&[outcome]).inc();
    }

    /// The text that Prometheus reads.
    pub(crate) fn text(&self, tables: &TablesHealth) -> Result<String, Failure> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.tables.set(number(tables.tables as u64));
        self.wrongly_accepted.set(number(tables.wrongly_accepted));
        self.wrongly_refused.set(number(tables.wrongly_refused));
        Ok(TextEncoder::new().encode_to_string(&self.registry.gather())?)
    }
}

fn digits(status: u16) -> String {
    status.to_string()
}

const BUCKETS: [f64; 10] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];
