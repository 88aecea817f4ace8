//! Answers of the query protocol: XML, or JSON where the client asks for it.

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Response, StatusCode};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::clock::{rfc3339, whole_seconds};
use crate::sts::error::StsError;

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The members of one structure in an answer, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Vec<(&'static str, Field)>);

#[derive(Clone, Debug)]
enum Field {
    Text(String),
    Number(u64),
    Time(OffsetDateTime),
    Structure(Fields),
}

impl Fields {
    pub(crate) fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, Field::Text(value.into())));
        self
    }

    pub(crate) fn optional(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(crate) fn number(mut self, name: &'static str, value: u64) -> Self {
        self.0.push((name, Field::Number(value)));
        self
    }

    pub(crate) fn time(mut self, name: &'static str, value: OffsetDateTime) -> Self {
        self.0.push((name, Field::Time(whole_seconds(value))));
        self
    }

    pub(crate) fn structure(mut self, name: &'static str, value: Self) -> Self {
        self.0.push((name, Field::Structure(value)));
        self
    }

    fn to_xml(&self) -> String {
        self.0
            .iter()
            .map(|(name, field)| {
                let inner = match field {
                    Field::Text(text) => escape(text),
                    Field::Number(number) => number.to_string(),
                    Field::Time(at) => rfc3339(*at),
                    Field::Structure(fields) => fields.to_xml(),
                };
                format!("<{name}>{inner}</{name}>")
            })
            .collect()
    }

    fn to_json(&self) -> Value {
        let members: Map<String, Value> = self
            .0
            .iter()
            .map(|(name, field)| {
                let value = match field {
                    Field::Text(text) => json!(text),
                    Field::Number(number) => json!(number),
                    Field::Time(at) => json!(at.unix_timestamp()),
                    Field::Structure(fields) => fields.to_json(),
                };
                ((*name).to_owned(), value)
            })
            .collect();
        Value::Object(members)
    }
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Xml,
    Json,
}

impl Format {
    /// What the client asks for.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let wants = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if wants.split([',', ';']).any(|part| part.trim().eq_ignore_ascii_case("application/json")) {
            Self::Json
        } else {
            Self::Xml
        }
    }

    /// The answer to a call that went well.
    pub(crate) fn success(self, action: &str, fields: &Fields) -> Response<String> {
        let id = Uuid::new_v4();
        let body = match self {
            Self::Xml => format!(
                "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{}</{action}Result><ResponseMetadata>\
                 <RequestId>{id}</RequestId></ResponseMetadata></{action}Response>",
                fields.to_xml()
            ),
            Self::Json => json!({format!("{action}Response"): {
                format!("{action}Result"): fields.to_json(),
                "ResponseMetadata": {"RequestId": id},
            }})
            .to_string(),
        };
        self.respond(StatusCode::OK, id, body)
    }

    /// The answer to a call that was refused.
    pub(crate) fn failure(self, error: &StsError) -> Response<String> {
        let id = Uuid::new_v4();
        let kind = if error.status().is_server_error() { "Receiver" } else { "Sender" };
        let body = match self {
            Self::Xml => format!(
                "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message>\
                 </Error><RequestId>{id}</RequestId></ErrorResponse>",
                error.code(),
                escape(&error.to_string())
            ),
            Self::Json => json!({
                "Error": {"Type": kind, "Code": error.code(), "Message": error.to_string()},
                "RequestId": id,
            })
            .to_string(),
        };
        self.respond(error.status(), id, body)
    }

    fn respond(self, status: StatusCode, id: Uuid, body: String) -> Response<String> {
        let media_type = match self {
            Self::Xml => "text/xml",
            Self::Json => "application/json",
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(media_type));
        if let Ok(id) = http::HeaderValue::from_str(&id.to_string()) {
            headers.insert("x-amzn-requestid", id);
        }
        response
    }
}

/// Escapes text for XML; control characters that XML cannot carry become U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\t' | '\n' => escaped.push(c),
            c if c.is_control() => escaped.push(char::REPLACEMENT_CHARACTER),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let fields =
            Fields::default().text("A", "</A><B>&\u{1}").structure("S", Fields::default().number("N", 7));
        assert_eq!(fields.to_xml(), "<A>&lt;/A&gt;&lt;B&gt;&amp;\u{fffd}</A><S><N>7</N></S>");
    }

    #[test]
    fn json_only_when_asked_for() {
        let with = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, http::HeaderValue::from_static(accept));
            Format::of(&headers)
        };
        assert_eq!(Format::of(&HeaderMap::new()), Format::Xml);
        assert_eq!(with("*/*"), Format::Xml);
        assert_eq!(with("application/json"), Format::Json);
        assert_eq!(with("text/xml, application/json;q=1"), Format::Json);
    }
}
