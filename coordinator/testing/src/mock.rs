//! Which answer an attempt gets.

use serde_json::Value;
use stepmill_definition::expression::{Expression, Variables};
use stepmill_definition::plan::{NodeId, Template};
use stepmill_definition::{Place, Placed};
use stepmill_protocol::{Millis, Problem, Usage};

/// The answers of a step.
#[derive(Debug)]
pub(crate) struct Mock {
    pub(crate) step: Placed<String>,
    pub(crate) nodes: Vec<NodeId>,
    pub(crate) replies: Vec<Reply>,
    /// It is the file's, not the case's own.
    pub(crate) shared: bool,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) place: Place,
    pub(crate) what: What,
    pub(crate) when: Option<Expression>,
    /// How often it may still answer; none is always.
    pub(crate) left: Option<u32>,
    pub(crate) latency: Millis,
    pub(crate) usage: Option<Usage>,
    pub(crate) used: u64,
}

/// What an answer does.
#[derive(Debug)]
pub(crate) enum What {
    Gives(Template),
    Fails { problem: Problem, retryable: bool, retry_after: Option<Millis> },
    Hangs,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// The step has no mock.
    NotMocked,
    /// Its answers are used up, or none is for this input.
    NoneLeft { place: Place, step: String, answered: u64 },
    /// A `when` cannot be evaluated.
    Wrong { place: Place, reason: String },
}

/// The answer to an attempt at a step with this input.
pub(crate) fn choose<'m>(mocks: &'m mut [Mock], node: NodeId, input: &Value) -> Result<&'m Reply, NoAnswer> {
    let Some(mock) = mocks.iter_mut().find(|mock| mock.nodes.contains(&node)) else {
        return Err(NoAnswer::NotMocked);
    };
    let mut chosen = None;
    for (number, reply) in mock.replies.iter().enumerate() {
        let fits = match &reply.when {
            None => Ok(true),
            Some(when) => when.holds(input, &Variables::default()),
        };
        match fits {
            Ok(true) if reply.left != Some(0) => {
                chosen = Some(number);
                break;
            }
            Ok(_) => {}
            Err(e) => return Err(NoAnswer::Wrong { place: reply.place.clone(), reason: e.to_string() }),
        }
    }
    let answered = mock.replies.iter().map(|reply| reply.used).sum();
    match chosen.and_then(|number| mock.replies.get_mut(number)) {
        Some(reply) => {
            reply.left = reply.left.map(|left| left - 1);
            reply.used += 1;
            Ok(reply)
        }
        None => Err(NoAnswer::NoneLeft { place: mock.step.place.clone(), step: mock.step.value.clone(), answered }),
    }
}
