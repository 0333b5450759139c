//! A model that answers by rules, with latency and faults. The same request, try and seed always give the same answer.

use std::time::Duration;

use stepmill_protocol::Problem;
use stepmill_protocol::link::BoxFuture;
use stepmill_protocol::problem::Standard;

use super::rule::{AnswerTemplate, Fault, FaultKind, Latency, Rule, Script, ScriptError, ScriptSource};
use super::template::{fill_text, fill_value};
use super::{ChatAnswer, ChatRequest, Model};
use crate::context::{FloorCharBoundary as _, quote};
use crate::failure::Failure;

/// The model. A rule file in YAML, with everything that it may hold:
///
/// ```
/// # use stepmill_worker::model::{Scripted, ScriptSource};
/// # let rules = r##"
/// model: scripted-small       # the name in answers; `scripted` unless said
/// seed: 7                     # of all chances
/// latency_ms: {from: 20, to: 60}              # or one number
/// faults:                     # for all rules
///   - {kind: rate_limited, chance: 0.05, retry_after_ms: 500}
/// rules:                      # the first that matches answers
///   - name: refund
///     when:                                   # everything that is said must hold
///       system: {contains: classify}          # all system messages; case does not matter in `contains`
///       user: {regex: "(?i)money back", not: "(?i)exchange"}   # the last user message
///       text: {contains: order}               # the whole conversation
///       schema: classification                # the title of the answer's schema
///       tries: [1, 2]                         # which tries at the step, passes and attempts counted together
///     pick:                                   # first group or whole match; named groups of `when` are picked too
///       order: '#W\d+'                        # from the last user message
///       zip: {from: text, regex: 'zip (\d+)'}  # or from `system`, or from the whole `text`
///     answer: {json: {category: refund, order: "{{order}}", all: "{{order[]}}"}}
///     latency_ms: 5
///     faults:                                 # before those for all rules
///       - {kind: malformed, tries: [1]}       # also server_error, timeout, refusal, length
///   - name: else                              # no `when`: always
///     answer: {text: "How can I help you with {{order}}?"}
/// # "##;
/// # Scripted::load(&ScriptSource::Text(rules.into()))?;
/// # Ok::<(), stepmill_worker::model::ScriptError>(())
/// ```
#[derive(Debug)]
pub struct Scripted {
    script: Script,
}

impl Scripted {
    /// Reads and checks the rules.
    ///
    /// # Errors
    /// [`ScriptError`] when they cannot be read or are wrong.
    pub fn load(source: &ScriptSource) -> Result<Self, ScriptError> {
        Ok(Self { script: Script::load(source)? })
    }

    async fn answer(&self, request: &ChatRequest) -> Result<ChatAnswer, Failure> {
        let Some((rule, picked)) = self.script.answering(request) else { return Err(no_rule(request)) };
        let dice = Dice::new(self.script.seed, request);
        let latency = pick_latency(rule.latency_ms.unwrap_or(self.script.latency_ms), dice.roll("latency"));
        tokio::time::sleep(latency).await;
        let text = match &rule.answer {
            AnswerTemplate::Text(text) => fill_text(text, &picked),
            AnswerTemplate::Json(value) => fill_value(value, &picked).to_string(),
        };
        let answer = ChatAnswer {
            tokens_in: request.messages.iter().map(|m| tokens(&m.content)).sum(),
            tokens_out: tokens(&text),
            text,
            model: self.script.model.clone(),
            finish_reason: "stop".into(),
            refusal: None,
        };
        match self.fault(rule, request.tries, &dice) {
            Some(fault) => spoil(answer, fault),
            None => Ok(answer),
        }
    }

    /// The first fault that strikes: the rule's own come first.
    fn fault<'a>(&'a self, rule: &'a Rule, tries: u32, dice: &Dice) -> Option<&'a Fault> {
        let strikes = |(place, number, fault): &(&str, usize, &Fault)| match (&fault.tries, fault.chance) {
            (Some(wanted), _) if wanted.contains(&tries) => true,
            (_, Some(chance)) => fraction(dice.roll(&format!("{place}/{number}"))) < chance,
            (Some(_), None) => false,
            (None, None) => true,
        };
        let own = rule.faults.iter().enumerate().map(|(n, fault)| (rule.name.as_str(), n, fault));
        let all = self.script.faults.iter().enumerate().map(|(n, fault)| ("", n, fault));
        own.chain(all).find(strikes).map(|(_, _, fault)| fault)
    }
}

impl Model for Scripted {
    fn complete<'a>(&'a self, request: &'a ChatRequest) -> BoxFuture<'a, Result<ChatAnswer, Failure>> {
        Box::pin(self.answer(request))
    }
}

fn no_rule(request: &ChatRequest) -> Failure {
    let last = request.messages.last().map(|m| quote(&m.content)).unwrap_or_default();
    let text =
        format!("no rule of the scripted model answers this request; add a rule without `when` at the end: {last}");
    Failure::new(Problem::standard(Standard::Configuration, text), false)
}

fn spoil(mut answer: ChatAnswer, fault: &Fault) -> Result<ChatAnswer, Failure> {
    let broken = |status: u16, text: &str| {
        let problem = Problem::standard(Standard::Communication, format!("the scripted model {text}"));
        let failure = Failure::new(problem.with_status(status), true);
        Err(match fault.retry_after_ms {
            Some(delay) => failure.retry_after(Duration::from_millis(delay)),
            None => failure,
        })
    };
    match fault.kind {
        FaultKind::RateLimited => broken(429, "answered 429 Too Many Requests"),
        FaultKind::ServerError => broken(500, "answered 500 Internal Server Error"),
        FaultKind::Timeout => broken(504, "did not answer in time"),
        FaultKind::Malformed => {
            answer.text.truncate(answer.text.floor_char_boundary_at(answer.text.len() / 2));
            Ok(answer)
        }
        FaultKind::Length => {
            answer.text.truncate(answer.text.floor_char_boundary_at(answer.text.len() / 2));
            answer.finish_reason = "length".into();
            Ok(answer)
        }
        FaultKind::Refusal => {
            answer.text = String::new();
            answer.refusal = Some("I cannot help with that.".into());
            Ok(answer)
        }
    }
}

/// Chances derived from the seed, the request and the try; never from a clock or a counter.
struct Dice([u8; 32]);

impl Dice {
    fn new(seed: u64, request: &ChatRequest) -> Self {
        let mut hash = blake3::Hasher::new();
        let mut put = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        put(&seed.to_le_bytes());
        put(&request.tries.to_le_bytes());
        put(request.model.as_bytes());
        put(request.schema.as_ref().map_or(String::new(), |s| s.schema.to_string()).as_bytes());
        for message in &request.messages {
            put(format!("{:?}", message.role).as_bytes());
            put(message.content.as_bytes());
        }
        Self(*hash.finalize().as_bytes())
    }

    fn roll(&self, what: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.0, what.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_le_bytes(first)
    }
}

/// 0 to 1, the end left out.
fn fraction(roll: u64) -> f64 {
    (roll >> 11) as f64 / (1_u64 << 53) as f64
}

fn pick_latency(latency: Latency, roll: u64) -> Duration {
    Duration::from_millis(match latency {
        Latency::Fixed(ms) => ms,
        Latency::Between { from, to } if to > from => from + roll % (to - from + 1),
        Latency::Between { from, .. } => from,
    })
}

/// About four tokens for three words.
fn tokens(text: &str) -> u64 {
    let words = text.split_whitespace().count() as u64;
    (words * 4).div_ceil(3)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{AnswerSchema, Message, Role};
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
  - name: else
    answer: {text: "hello there friend"}
"##;

    fn request(system: &str, user: &str, tries: u32) -> ChatRequest {
        let message = |role, content: &str| Message { role, content: content.into() };
        ChatRequest {
            model: "any".into(),
            messages: vec![message(Role::System, system), message(Role::User, user)],
            schema: Some(AnswerSchema { name: "kinds".into(), schema: json!({}) }),
            temperature: None,
            max_tokens: None,
            tries,
            key: "k".into(),
        }
    }

    fn value(answer: &ChatAnswer) -> Option<Value> {
        serde_json::from_str(&answer.text).ok()
    }

    fn model() -> Scripted {
        Scripted::load(&ScriptSource::Text(RULES.into())).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_rule_that_fits_answers_with_what_it_picked() {
        let model = model();
        let text = "Please RETURN #W1 and #W22, zip code 19122";
        let answer = model.complete(&request("You classify mail.", text, 3)).await.unwrap();
        assert_eq!(
            value(&answer).unwrap(),
            json!({"kind": "RETURN", "order": "#W1", "orders": ["#W1", "#W22"], "zip": "19122"})
        );
        assert_eq!((answer.model.as_str(), answer.tokens_in), ("small", 4 + 11));
        let other = model.complete(&request("You classify mail.", "cancel and return", 3)).await.unwrap();
        assert_eq!((other.text.as_str(), other.tokens_out), ("hello there friend", 4));
    }

    #[tokio::test(start_paused = true)]
    async fn faults_come_in_the_named_tries() {
        let model = model();
        let broken = model.complete(&request("classify", "return it", 1)).await.unwrap();
        assert!(value(&broken).is_none() && broken.text.starts_with("{\"kind\""), "{broken:?}");
        let failure = model.complete(&request("classify", "return it", 2)).await.unwrap_err();
        assert_eq!((failure.problem().status, failure.delay()), (429, Some(Duration::from_millis(300))));
    }

    #[tokio::test(start_paused = true)]
    async fn chances_are_spread_and_repeatable() {
        let model = model();
        let mut failed = 0;
        for n in 0..400 {
            let one = request("", &format!("dice {n}"), 1);
            let (first, second) = (model.complete(&one).await.is_err(), model.complete(&one).await.is_err());
            assert_eq!(first, second);
            failed += u32::from(first);
        }
        assert!((60..140).contains(&failed), "{failed} of 400 at a chance of a quarter");
        let rule = &model.script.rules[1];
        let strikes = |tries| model.fault(rule, tries, &Dice::new(3, &request("", "dice", tries))).is_some();
        let stubborn = (1..100).all(strikes);
        assert!(!stubborn, "another try is another chance");
    }

    #[test]
    fn wrong_rules_are_refused_when_they_are_read() {
        for (text, expected) in [
            ("rules: [{name: a, answer: {text: x}, wen: {}}]", "wen"),
            ("rules: [{name: a, answer: {text: x}, when: {user: {regex: '('}}}]", "regex"),
            ("rules: [{name: a, answer: {text: x}, faults: [{kind: timeout, chance: 1.5}]}]", "between 0 and 1"),
        ] {
            let error = Scripted::load(&ScriptSource::Text(text.into())).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let missing = Scripted::load(&ScriptSource::File("/no/such/file".into())).unwrap_err().to_string();
        assert!(missing.contains("/no/such/file"), "{missing}");
    }
}
