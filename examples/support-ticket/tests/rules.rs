//! The scripted model on the example's own tickets and, where the shared data are, on real ones. It is asked exactly as
//! the workflow asks: with the `with` of its two calls.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that meets an error has failed, and says what it skipped"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};
use stepmill_agent::{LlmCall, LlmOutput, LlmStep, ModelSettings, ScriptSource};
use stepmill_example_support_ticket::{MODEL_RULES, TICKETS, WORKFLOW};
use stepmill_worker::testing::TryStep;
use stepmill_worker::{Context, Failure, Handler, Secrets};

#[derive(Deserialize)]
struct Ticket {
    id: String,
    text: String,
    label: String,
}

fn tickets(lines: &str) -> Vec<Ticket> {
    lines.lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).unwrap()).collect()
}

/// The `with` of a call of the workflow, with the prompt put in.
fn call(pointer: &str, prompt: &str) -> Value {
    let workflow: Value = serde_saphyr::from_str(WORKFLOW).unwrap();
    let mut with = workflow.pointer(pointer).unwrap_or_else(|| panic!("no call at {pointer}")).clone();
    with["prompt"] = json!(prompt);
    with
}

struct Desk(Arc<LlmStep>);

impl Desk {
    fn new() -> Self {
        let settings = ModelSettings::default().or_rules(ScriptSource::Text(MODEL_RULES.into()));
        Self(Arc::new(LlmStep::new(&settings, Secrets::from_env(None)).unwrap()))
    }

    /// Asks until an answer can be used, as the workflow's policy does; gives the number of tries too.
    async fn ask(&self, with: &Value) -> (Value, u32) {
        for attempt in 1..=5 {
            let step = Arc::clone(&self.0);
            let handler = move |ctx: Context, call: LlmCall| {
                let step = Arc::clone(&step);
                async move { Handler::<LlmCall, LlmOutput>::run(&*step, ctx, call).await }
            };
            match TryStep::new().attempt(attempt).run(handler, with).await.result {
                Ok(output) => return (output.content, attempt),
                Err(failure) => assert!(is_mishap(&failure), "{failure}"),
            }
        }
        panic!("five mishaps in a row; the chances in model.yaml are too high");
    }
}

/// What the rule file lets go wrong: too many requests, a broken server, a broken answer.
fn is_mishap(failure: &Failure) -> bool {
    failure.is_retryable() && [429, 500, 422].contains(&failure.problem().status)
}

/// How many tickets get their label, and a line per ticket that does not.
async fn right(tickets: &[Ticket]) -> usize {
    let desk = Desk::new();
    let mut right = 0;
    let mut wrong = BTreeMap::new();
    for ticket in tickets {
        let (answer, _) = desk.ask(&call("/do/0/classify/try/0/askModel/with", &ticket.text)).await;
        let category = answer["category"].as_str().unwrap();
        if category == ticket.label {
            right += 1;
        } else {
            wrong.insert(&ticket.id, format!("{} taken for {category} ({})", ticket.label, answer["reason"]));
        }
    }
    println!("{right} of {} tickets right; wrong: {wrong:#?}", tickets.len());
    right
}

#[tokio::test(start_paused = true)]
async fn own_tickets_take_the_right_route() {
    let tickets = tickets(TICKETS);
    assert_eq!(tickets.len(), 24);
    // One is a trap for rules: it says what the customer does not want.
    assert!(right(&tickets).await >= 23);
}

#[tokio::test(start_paused = true)]
async fn most_real_tickets_take_the_right_route() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let corpora = std::env::var_os("STEPMILL_CORPORA").map_or_else(|| root.join("../shared/corpora"), Into::into);
    let file = corpora.join("tickets/retail.jsonl");
    let Ok(lines) = std::fs::read_to_string(&file) else {
        println!("skipped: there is no {} (set STEPMILL_CORPORA)", file.display());
        return;
    };
    let tickets = tickets(&lines);
    // A model of a few words; the labels often hang on the order's state, which the ticket does not tell. Every ticket
    // is answered; three of five go the right way.
    assert!(right(&tickets).await * 2 > tickets.len());
}

#[tokio::test(start_paused = true)]
async fn the_answer_is_built_from_the_facts() {
    let prompt = "Ticket: Facts: nothing.\nFacts: The order was cancelled (request 7).";
    let with = call("/do/2/answer/try/0/draft/with", prompt);
    let (answer, _) = Desk::new().ask(&with).await;
    let reply = answer["reply"].as_str().unwrap();
    assert!(reply.contains("The order was cancelled (request 7)."), "{reply}");
}

#[tokio::test(start_paused = true)]
async fn some_requests_need_another_try() {
    let desk = Desk::new();
    let mut repeated = 0;
    for ticket in tickets(TICKETS) {
        repeated += u32::from(desk.ask(&call("/do/0/classify/try/0/askModel/with", &ticket.text)).await.1 > 1);
        repeated += u32::from(desk.ask(&call("/do/2/answer/try/0/draft/with", &ticket.text)).await.1 > 1);
    }
    assert!((1..24).contains(&repeated), "{repeated} of 48 requests met a mishap");
}

#[test]
fn rules_know_no_ticket() {
    for ticket in tickets(TICKETS) {
        assert!(!MODEL_RULES.contains(&format!("\"{}\"", ticket.id)) && !MODEL_RULES.contains(&ticket.text));
        let words: Vec<&str> = ticket.text.split_whitespace().collect();
        for five in words.windows(5) {
            assert!(!MODEL_RULES.contains(&five.join(" ")), "the rules quote ticket {}: {five:?}", ticket.id);
        }
    }
}
