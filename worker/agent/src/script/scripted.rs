//! The rules of a scripted model, and the model in this process.

use std::time::Duration;

use stepmill_protocol::Millis;
use stepmill_protocol::link::BoxFuture;
use stepmill_worker_engine::model::{ModelAnswer, ModelError, ModelErrorKind, ModelRequest};

use super::fault::FaultKind;
use super::reply::{Outcome, Reply, reply};
use super::rule::{QuotaSettings, Rules, ScriptError, ScriptSource};
use crate::model::{Call, Model, TokenSink};
use crate::text::{floor_char_boundary, quote};

/// The rules of a model, checked. A rule file in YAML, with everything that it may hold:
///
/// ```
/// # use stepmill_agent::script::{Script, ScriptSource};
/// # let rules = r##"
/// model: scripted-small       # the name in answers; `scripted` unless said
/// seed: 7                     # of all chances
/// latency_ms: {from: 20, to: 60}              # or one number
/// token_latency_ms: 0                         # of each token of a stream
/// limits: {tokens_per_minute: 100000}         # of a server; also requests_per_minute
/// faults:                     # for all rules
///   - {kind: rate_limited, chance: 0.05, retry_after_ms: 500}
/// rules:                      # the first that matches answers
///   - name: refund
///     when:                                   # everything that is said must hold
///       system: {contains: classify}          # all system messages; case does not matter in `contains`
///       user: {regex: "(?i)money back", not: "(?i)exchange"}   # the last user message
///       text: {contains: order}               # the whole conversation
///       schema: classification                # the title of the answer's schema
///       tool: look_up                         # a tool that is offered
///       model: small-1                        # the model that is asked for
///       turn: [0]                             # how often the model has spoken in the conversation
///       result: {contains: found}             # the last result of a tool
///       repair: false                         # whether it is asked to repair its answer
///       tries: [1, 2]                         # which tries at the step, passes and attempts counted together
///     pick:                                   # first group or whole match; named groups of `when` are picked too
///       order: '#W\d+'                        # from the last user message
///       zip: {from: text, regex: 'zip (\d+)'}  # or from `system`, `result`, or the whole `text`
///     answer: {json: {category: refund, order: "{{order}}", all: "{{order[]}}"}}
///     latency_ms: 5
///     faults:                                 # before those for all rules
///       - {kind: malformed, tries: [1]}       # also server_error, overloaded, timeout, context_too_long, cut_stream,
///       - {kind: refusal, tries: [2]}         # length, wrong_class, wrong_tool, unknown_tool, invented_argument
///   - name: agent                             # by turns of the conversation; the last one from then on
///     when: {tool: look_up}
///     answer:
///       sequence:
///         - {tool: {name: look_up, arguments: {order: "{{order}}"}}}   # or `tools: [...]`, with a `text` before them
///         - {text: "It is on its way."}
///   - name: else                              # no `when`: always
///     answer: {text: "How can I help you with {{order}}?"}
/// # "##;
/// # Script::load(&ScriptSource::Text(rules.into()))?;
/// # Ok::<(), stepmill_agent::script::ScriptError>(())
/// ```
#[derive(Debug)]
pub struct Script {
    rules: Rules,
}

impl Script {
    /// Reads and checks the rules.
    ///
    /// # Errors
    /// [`ScriptError`] when they cannot be read or are wrong.
    pub fn load(source: &ScriptSource) -> Result<Self, ScriptError> {
        Ok(Self { rules: Rules::load(source)? })
    }

    /// What it says to a request, in this try at it (from 1).
    #[must_use]
    pub fn reply(&self, request: &ModelRequest, tries: u32) -> Reply {
        reply(&self.rules, request, tries)
    }

    /// What a server with these rules allows a minute.
    #[must_use]
    pub fn quota(&self) -> Option<QuotaSettings> {
        self.rules.limits
    }

    /// The name of the model that it plays.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.rules.model
    }
}

/// The model in this process.
#[derive(Debug)]
pub struct Scripted {
    script: Script,
}

impl Scripted {
    /// Reads and checks the rules; [`Script`] shows what they may hold.
    ///
    /// # Errors
    /// [`ScriptError`] when they cannot be read or are wrong.
    pub fn load(source: &ScriptSource) -> Result<Self, ScriptError> {
        Ok(Self { script: Script::load(source)? })
    }

    async fn answer(&self, call: Call<'_>) -> Result<ModelAnswer, ModelError> {
        let reply = self.script.reply(call.request, call.tries);
        tokio::time::sleep(reply.latency).await;
        match reply.outcome {
            Outcome::Answer(answer) => {
                if let Some(sink) = call.tokens {
                    sink.begin(&answer.model);
                    say(sink, &answer.text(), reply.token_latency).await;
                }
                Ok(answer)
            }
            Outcome::Cut(answer) => {
                if let Some(sink) = call.tokens {
                    sink.begin(&answer.model);
                    let text = answer.text();
                    say(sink, &text[..floor_char_boundary(&text, text.len() / 2)], reply.token_latency).await;
                }
                Err(ModelError::new(
                    ModelErrorKind::CutStream,
                    "the scripted model broke off in the middle of its answer",
                ))
            }
            Outcome::Fault { kind, retry_after } => Err(failed(kind, retry_after)),
            Outcome::NoRule => Err(no_rule(call.request)),
        }
    }
}

impl Model for Scripted {
    fn complete<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<ModelAnswer, ModelError>> {
        Box::pin(self.answer(call))
    }
}

/// Word by word.
async fn say(sink: &dyn TokenSink, text: &str, pause: Duration) {
    for word in text.split_inclusive(' ') {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        sink.text(word);
    }
}

fn failed(kind: FaultKind, retry_after: Option<Duration>) -> ModelError {
    let (kind, status, text) = match kind {
        FaultKind::RateLimited => (ModelErrorKind::RateLimit, 429, "answered 429 Too Many Requests"),
        FaultKind::Overloaded => (ModelErrorKind::Overloaded, 503, "answered 503 Service Unavailable"),
        FaultKind::Timeout => (ModelErrorKind::Timeout, 504, "did not answer in time"),
        FaultKind::ContextTooLong => (ModelErrorKind::ContextTooLong, 400, "finds the conversation too long"),
        FaultKind::ServerError
        | FaultKind::CutStream
        | FaultKind::Malformed
        | FaultKind::Refusal
        | FaultKind::Length
        | FaultKind::WrongClass
        | FaultKind::WrongTool
        | FaultKind::UnknownTool
        | FaultKind::InventedArgument => (ModelErrorKind::Unavailable, 500, "answered 500 Internal Server Error"),
    };
    let mut error = ModelError::new(kind, format!("the scripted model {text}")).with_status(status);
    error.retry_after = retry_after.map(Millis::from);
    error
}

fn no_rule(request: &ModelRequest) -> ModelError {
    let last = request.messages.last().map(|m| quote(&m.text())).unwrap_or_default();
    let text =
        format!("no rule of the scripted model answers this request; add a rule without `when` at the end: {last}");
    ModelError::new(ModelErrorKind::BadRequest, text)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stepmill_worker_engine::model::{AnswerSchema, Message, Stop, Tool};

    use super::*;

    const RULES: &str = r##"
model: small
seed: 3
rules:
  - name: classify
    when:
      system: {contains: CLASSIFY}
      user: {regex: "(?i)(?P<verb>return|exchange)", not: "(?i)cancel"}
      schema: kinds
    pick:
      order: '#W\d+'
      zip: {from: text, regex: 'zip code (\d+)'}
    answer: {json: {kind: "{{verb}}", order: "{{order}}", orders: "{{order[]}}", zip: "{{zip}}"}}
    faults:
      - {kind: malformed, tries: [1]}
      - {kind: rate_limited, tries: [2], retry_after_ms: 300}
  - name: chancy
    when: {user: {contains: dice}}
    answer: {text: "you rolled"}
    latency_ms: {from: 1, to: 3}
    faults: [{kind: server_error, chance: 0.25}]
  - name: agent
    when: {tool: look_up}
    pick: {found: {from: result, regex: 'on (\w+)'}}
    answer:
      sequence:
        - {text: "I look.", tool: {name: look_up, arguments: {order: "#W1"}}}
        - {text: "It comes on {{found}}."}
  - name: else
    answer: {text: "hello there friend"}
"##;

    fn request(system: &str, user: &str) -> ModelRequest {
        ModelRequest {
            model: "any".into(),
            messages: vec![Message::system(system), Message::user(user)],
            schema: Some(AnswerSchema { name: "kinds".into(), schema: json!({}) }),
            ..ModelRequest::default()
        }
    }

    fn with_tools(messages: Vec<Message>) -> ModelRequest {
        let tool = |name: &str| Tool { name: name.into(), description: String::new(), parameters: json!({}) };
        ModelRequest { messages, tools: vec![tool("look_up"), tool("refund")], ..ModelRequest::default() }
    }

    fn model(rules: &str) -> Scripted {
        Scripted::load(&ScriptSource::Text(rules.into())).unwrap()
    }

    async fn ask(model: &Scripted, request: &ModelRequest, tries: u32) -> Result<ModelAnswer, ModelError> {
        model.complete(Call { request, key: "k", tries, tokens: None }).await
    }

    fn value(answer: &ModelAnswer) -> Option<Value> {
        serde_json::from_str(&answer.text()).ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_rule_that_fits_answers_with_what_it_picked() {
        let model = model(RULES);
        let text = "Please RETURN #W1 and #W22, zip code 19122";
        let answer = ask(&model, &request("You classify mail.", text), 3).await.unwrap();
        assert_eq!(
            value(&answer).unwrap(),
            json!({"kind": "RETURN", "order": "#W1", "orders": ["#W1", "#W22"], "zip": "19122"})
        );
        assert_eq!((answer.model.as_str(), answer.tokens.input), ("small", 4 + 11));
        let other = ask(&model, &request("You classify mail.", "cancel and return"), 3).await.unwrap();
        assert_eq!((other.text().as_str(), other.tokens.output), ("hello there friend", 4));
    }

    #[tokio::test(start_paused = true)]
    async fn faults_come_in_the_named_tries() {
        let model = model(RULES);
        let broken = ask(&model, &request("classify", "return it"), 1).await.unwrap();
        assert!(value(&broken).is_none() && broken.text().starts_with("{\"kind\""), "{broken:?}");
        let error = ask(&model, &request("classify", "return it"), 2).await.unwrap_err();
        assert_eq!((error.kind, error.status), (ModelErrorKind::RateLimit, Some(429)));
        assert_eq!(error.retry_after, Some(Millis(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn chances_are_spread_and_repeatable() {
        let model = model(RULES);
        let mut failed = 0;
        for n in 0..400 {
            let one = request("", &format!("dice {n}"));
            let (first, second) = (ask(&model, &one, 1).await.is_err(), ask(&model, &one, 1).await.is_err());
            assert_eq!(first, second);
            failed += u32::from(first);
        }
        assert!((60..140).contains(&failed), "{failed} of 400 at a chance of a quarter");
        let mut stubborn = true;
        for tries in 1..100 {
            stubborn &= ask(&model, &request("", "dice"), tries).await.is_err();
        }
        assert!(!stubborn, "another try is another chance");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sequence_goes_by_the_turns_of_the_conversation() {
        let model = model(RULES);
        let mut messages = vec![Message::user("where is it?")];
        let first = ask(&model, &with_tools(messages.clone()), 1).await.unwrap();
        let call = first.tool_calls().next().unwrap().clone();
        assert_eq!((first.stop, first.text().as_str(), call.name.as_str()), (Stop::ToolCalls, "I look.", "look_up"));
        assert_eq!(call.arguments, json!({"order": "#W1"}));
        messages.extend([first.message(), Message::tool(&call.id, "it comes on Monday")]);
        let second = ask(&model, &with_tools(messages.clone()), 1).await.unwrap();
        assert_eq!((second.stop, second.text().as_str()), (Stop::End, "It comes on Monday."));
        messages.extend([second.message(), Message::user("sure?")]);
        let third = ask(&model, &with_tools(messages), 1).await.unwrap();
        assert_eq!(third.text(), "It comes on Monday.", "the last one from then on");
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_answers_are_wrong_in_the_way_that_was_asked_for() {
        let rules = |kind: &str| {
            model(&format!(
                "rules: [{{name: a, when: {{tool: look_up}}, faults: [{{kind: {kind}}}], answer: {{tool: {{name: look_up, \
                 arguments: {{id: 1}}}}}}}}, {{name: b, faults: [{{kind: {kind}}}], answer: {{json: {{kind: refund}}}}}}]"
            ))
        };
        let asked = with_tools(vec![Message::user("x")]);
        for (kind, name, arguments) in [
            ("wrong_tool", "refund", json!({"id": 1})),
            ("unknown_tool", "look_up_v2", json!({"id": 1})),
            ("invented_argument", "look_up", json!({"id": 1, "invented": "by the model"})),
            ("malformed", "look_up", json!("{\"id")),
        ] {
            let answer = ask(&rules(kind), &asked, 1).await.unwrap();
            let call = answer.tool_calls().next().unwrap();
            assert_eq!((call.name.as_str(), &call.arguments), (name, &arguments), "{kind}");
        }
        let schema = json!({"properties": {"kind": {"enum": ["refund", "other"]}, "note": {"type": "string"}}});
        let classify = ModelRequest {
            schema: Some(AnswerSchema { name: "kinds".into(), schema }),
            messages: vec![Message::user("x")],
            ..ModelRequest::default()
        };
        let answer = ask(&rules("wrong_class"), &classify, 1).await.unwrap();
        assert_eq!(value(&answer), Some(json!({"kind": "other"})));
        let refusal = ask(&rules("refusal"), &classify, 1).await.unwrap();
        assert_eq!((refusal.stop, refusal.content.len(), refusal.refusal.is_some()), (Stop::Refusal, 0, true));
        for (kind, expected) in [
            ("cut_stream", ModelErrorKind::CutStream),
            ("overloaded", ModelErrorKind::Overloaded),
            ("context_too_long", ModelErrorKind::ContextTooLong),
            ("timeout", ModelErrorKind::Timeout),
        ] {
            assert_eq!(ask(&rules(kind), &classify, 1).await.unwrap_err().kind, expected);
        }
    }

    #[test]
    fn wrong_rules_are_refused_when_they_are_read() {
        for (text, expected) in [
            ("rules: [{name: a, answer: {text: x}, wen: {}}]", "wen"),
            ("rules: [{name: a, answer: {text: x}, when: {user: {regex: '('}}}]", "regex"),
            ("rules: [{name: a, answer: {text: x}, faults: [{kind: timeout, chance: 1.5}]}]", "between 0 and 1"),
            ("rules: [{name: a, answer: {sequence: []}}]", "nothing in it"),
            ("rules: [{name: a, answer: {}}]", "nothing in it"),
        ] {
            let error = Scripted::load(&ScriptSource::Text(text.into())).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = Scripted::load(&ScriptSource::File("/no/such/file".into())).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file"), "{missing}");
    }
}
