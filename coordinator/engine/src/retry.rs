//! Decides what becomes of an error that reaches a `try`. Knows no clock; the jitter comes from the run's secret, so that
//! two coordinators that see the same failure choose the same time.

use std::sync::Arc;

use serde_json::Value;
use stepmill_definition::plan::{Catch, Retry};
use stepmill_protocol::{Millis, RetryPolicy, limit};

use crate::fault::Fault;
use crate::frame::{FrameId, State};
use crate::scope::Site;
use crate::walk::Walk;

/// What becomes of an error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is not caught here.
    Up,
    /// The body is tried again after this delay.
    Retry { delay: Millis },
    /// It is caught for good: the `catch` runs.
    Handle,
    /// No retry is left, and the `catch` has nothing else.
    GiveUp,
}

impl Walk<'_> {
    /// Decides on an error from the body of the `try` that `id` is the frame of.
    pub(crate) fn decide(&self, id: FrameId, fault: &Fault) -> Result<Decision, Fault> {
        let (Some((node, _, catch)), Some(frame)) = (self.try_node(id), self.live.frames.get(&id)) else {
            return Ok(Decision::Up);
        };
        let error = Arc::new(serde_json::to_value(&fault.problem).unwrap_or_default());
        let on = frame.input.as_ref().map(|held| held.value().clone()).unwrap_or_default();
        let site = Site { error: Some((&catch.as_, &error)), ..Site::inside(node, frame) };
        if !self.is_caught(&site, catch, &error, &on)? {
            return Ok(Decision::Up);
        }
        let (Some(retry), State::Try(t)) = (&catch.retry, &frame.state) else { return Ok(Decision::Handle) };
        let at_last = || if catch.only_retries() { Decision::GiveUp } else { Decision::Handle };
        if fault.terminal || !self.both(&site, retry.when.as_ref(), retry.except_when.as_ref(), &on)? {
            return Ok(at_last());
        }
        let failed = t.failed.saturating_add(fault.attempts);
        let policy = self.policy(&site, retry, &on)?;
        if failed >= policy.attempts_max {
            return Ok(at_last());
        }
        let chance = self.head.secret.chance(frame.chain.map_or(0, |c| c.0), failed);
        let delay = policy.delay(failed, chance).max(fault.retry_after).min(limit::DURATION_MAX);
        let ends = policy.duration_max.map(|max| frame.began.plus(max));
        if ends.is_some_and(|ends| self.at.plus(delay) > ends) {
            return Ok(at_last());
        }
        Ok(Decision::Retry { delay })
    }

    fn is_caught(&self, site: &Site<'_>, catch: &Catch, error: &Value, on: &Value) -> Result<bool, Fault> {
        for (field, template) in &catch.with {
            let expected = self.evaluate(site, template, on)?;
            if !error.get(field.as_ref()).is_some_and(|given| same(given, &expected)) {
                return Ok(false);
            }
        }
        self.both(site, catch.when.as_ref(), catch.except_when.as_ref(), on)
    }

    /// `when` and not `exceptWhen`.
    fn both(
        &self,
        site: &Site<'_>,
        when: Option<&stepmill_definition::expression::Expression>,
        except: Option<&stepmill_definition::expression::Expression>,
        on: &Value,
    ) -> Result<bool, Fault> {
        if let Some(when) = when
            && !self.holds(site, when, on)?
        {
            return Ok(false);
        }
        match except {
            Some(except) => Ok(!self.holds(site, except, on)?),
            None => Ok(true),
        }
    }

    fn policy(&self, site: &Site<'_>, retry: &Retry, on: &Value) -> Result<RetryPolicy, Fault> {
        let jitter = match &retry.jitter {
            Some((from, to)) => Some((self.duration(site, from, on)?, self.duration(site, to, on)?)),
            None => None,
        };
        let duration_max = retry.duration_max.as_ref().map(|spec| self.duration(site, spec, on)).transpose()?;
        Ok(RetryPolicy {
            delay: self.duration(site, &retry.delay, on)?,
            backoff: retry.backoff,
            delay_max: limit::DURATION_MAX,
            jitter,
            attempts_max: retry.attempts_max.unwrap_or(limit::ATTEMPTS_MAX).min(limit::ATTEMPTS_MAX),
            duration_max,
        })
    }
}

/// Equal, where 503 and 503.0 are.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        (None, _) | (_, None) => a == b,
    }
}
