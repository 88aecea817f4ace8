use std::fmt;
use std::sync::Arc;

use agentkeys_core::{HttpClient, HttpError, HttpRequest};
use aws_smithy_runtime_api::client::http as smithy;
use aws_smithy_runtime_api::client::orchestrator;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

/// The SDK's HTTP over our own port, so that proxies, redirects, size and trust are what the host said and
/// nothing is read from the environment (W70).
#[derive(Clone)]
pub(super) struct Connector(pub(super) Arc<dyn HttpClient>);

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl smithy::HttpClient for Connector {
    fn http_connector(
        &self,
        _settings: &smithy::HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> smithy::SharedHttpConnector {
        smithy::SharedHttpConnector::new(self.clone())
    }
}

impl smithy::HttpConnector for Connector {
    fn call(&self, request: orchestrator::HttpRequest) -> smithy::HttpConnectorFuture {
        let http = Arc::clone(&self.0);
        smithy::HttpConnectorFuture::new(async move {
            let user = |what: &'static str| ConnectorError::user(what.into());
            let body = request.body().bytes().ok_or_else(|| user("a streaming body"))?.to_vec();
            if request.method() != "POST" {
                return Err(user("not a POST"));
            }
            let mut outgoing = HttpRequest::post(request.uri(), body, MAX_ANSWER_BYTES);
            for (name, value) in request.headers() {
                outgoing = outgoing.with_header(name, value);
            }
            let answer = http.send(outgoing).await.map_err(explain)?;
            let status = StatusCode::try_from(answer.status)
                .map_err(|_| ConnectorError::other("not an HTTP status".into(), None))?;
            let mut response = orchestrator::HttpResponse::new(status, SdkBody::from(answer.body));
            for (name, value) in answer.headers {
                // a header that the SDK cannot hold is one that it does not read
                let _unused = response.headers_mut().try_insert(name, value);
            }
            Ok(response)
        })
    }
}

fn explain(error: HttpError) -> ConnectorError {
    match error {
        HttpError::Timeout => ConnectorError::timeout(error.into()),
        HttpError::Connection(_) => ConnectorError::io(error.into()),
        _ => ConnectorError::other(error.into(), None),
    }
}

/// STS answers are about 2 KiB, most of it the session token (W4).
const MAX_ANSWER_BYTES: usize = 64 * 1024;
