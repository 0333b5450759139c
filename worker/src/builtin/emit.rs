//! The step `emit`: one event, sent to an endpoint by the HTTP binding of CloudEvents, in its structured form.

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use stepmill_protocol::CloudEvent;
use stepmill_protocol::cloud::STRUCTURED;

use super::endpoint::{Endpoint, wrong};
use super::http_answer::Form;
use super::http_call::{HttpRequest, headers};
use super::wire::Wire;
use crate::context::Context;
use crate::failure::Failure;
use crate::handler::Handler;

/// The name of this step.
pub const KIND: &str = "emit";

/// The step.
#[derive(Clone, Debug)]
pub struct EmitStep {
    wire: Wire,
}

/// What it gets: a whole event, and where it goes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Emission {
    endpoint: Endpoint,
    event: CloudEvent,
}

impl EmitStep {
    /// The step over the connections that other steps use, too.
    #[must_use]
    pub const fn on(wire: Wire) -> Self {
        Self { wire }
    }
}

impl Handler<Emission, Value> for EmitStep {
    /// Gives nothing: the step's output is the event as the run has it, without the secrets that are put into it here.
    async fn run(&self, ctx: Context, emission: Emission) -> Result<Value, Failure> {
        let Emission { endpoint, event } = emission;
        let mut headers = headers(None, &ctx)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED));
        let body = serde_json::to_vec(&event).map_err(|e| wrong(format!("the event has no JSON form: {e}")))?;
        let request = HttpRequest {
            method: Method::POST,
            url: endpoint.url()?,
            headers,
            body: Some(body),
            authentication: endpoint.authentication.as_ref(),
            output: Form::Raw,
            redirect: false,
        };
        request.carry_out(&self.wire, &ctx).await?;
        Ok(Value::Null)
    }
}
