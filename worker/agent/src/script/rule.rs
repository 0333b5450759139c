//! The rule file of a scripted model: its form, its checks, and which rule answers a request. A rule sees nothing but
//! the request. [`super::Scripted`] shows an example of everything it may hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use stepmill_worker_engine::model::{Message, ModelRequest};

use super::fault::Fault;
use super::template::Picked;
use crate::limit;
use crate::llm::repair;

/// Where a rule file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSource {
    /// A file.
    File(PathBuf),
    /// The text itself.
    Text(String),
}

/// A rule file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// It cannot be read.
    #[error("the rules of the scripted model cannot be read from {path}: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// It is not what a rule file should be.
    #[error("the rules of the scripted model are wrong: {0}")]
    Form(String),
}

/// A whole rule file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rules {
    #[serde(default = "default_model")]
    pub(super) model: String,
    #[serde(default)]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) latency_ms: Latency,
    #[serde(default)]
    pub(super) token_latency_ms: u64,
    #[serde(default)]
    pub(super) faults: Vec<Fault>,
    #[serde(default)]
    pub(super) limits: Option<QuotaSettings>,
    pub(super) rules: Vec<Rule>,
}

/// What a server with these rules allows a minute; what is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSettings {
    /// Tokens read and written.
    pub tokens_per_minute: Option<u64>,
    /// Requests.
    pub requests_per_minute: Option<u64>,
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: String,
    #[serde(default)]
    pub(super) when: When,
    #[serde(default)]
    pick: BTreeMap<String, Pick>,
    pub(super) answer: Answers,
    #[serde(default)]
    pub(super) latency_ms: Option<Latency>,
    #[serde(default)]
    pub(super) faults: Vec<Fault>,
}

/// What a request must look like. Everything that is said must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct When {
    system: Option<Match>,
    user: Option<Match>,
    text: Option<Match>,
    result: Option<Match>,
    schema: Option<String>,
    tool: Option<String>,
    model: Option<String>,
    turn: Option<Vec<usize>>,
    repair: Option<bool>,
    tries: Option<Vec<u32>>,
}

/// What a text must look like.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Match {
    contains: Option<String>,
    regex: Option<Pattern>,
    not: Option<Pattern>,
}

/// A regular expression, checked when the file is read.
#[derive(Debug)]
struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Regex::new(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Pick {
    FromUser(Pattern),
    From { from: Part, regex: Pattern },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Part {
    System,
    User,
    Text,
    Result,
}

/// What a rule answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Answers {
    /// One answer after the other, by how often the model has spoken in the conversation; the last one from then on.
    Sequence {
        /// The answers.
        sequence: Vec<AnswerTemplate>,
    },
    /// Always the same.
    One(AnswerTemplate),
}

/// One answer: a text or a JSON value, tool calls, or both.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerTemplate {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) json: Option<Value>,
    #[serde(default)]
    tool: Option<ToolTemplate>,
    #[serde(default)]
    tools: Vec<ToolTemplate>,
}

/// A tool call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ToolTemplate {
    pub(super) name: String,
    #[serde(default = "no_arguments")]
    pub(super) arguments: Value,
}

fn no_arguments() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Answers {
    /// The answer of this turn, from 0. There is always one: the file was checked.
    pub(super) fn at(&self, turn: usize) -> &AnswerTemplate {
        match self {
            Self::One(answer) => answer,
            Self::Sequence { sequence } => &sequence[turn.min(sequence.len() - 1)],
        }
    }

    fn all(&self) -> &[AnswerTemplate] {
        match self {
            Self::One(answer) => std::slice::from_ref(answer),
            Self::Sequence { sequence } => sequence,
        }
    }
}

impl AnswerTemplate {
    /// The tool calls, in order.
    pub(super) fn tools(&self) -> impl Iterator<Item = &ToolTemplate> {
        self.tool.iter().chain(&self.tools)
    }

    fn is_empty(&self) -> bool {
        self.text.is_none() && self.json.is_none() && self.tools().next().is_none()
    }
}

/// How long an answer takes, in milliseconds.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Latency {
    /// Always the same.
    Fixed(u64),
    /// Evenly spread.
    Between {
        /// At least.
        from: u64,
        /// At most.
        to: u64,
    },
}

impl Default for Latency {
    fn default() -> Self {
        Self::Fixed(0)
    }
}

fn default_model() -> String {
    "scripted".into()
}

impl Rules {
    /// Reads and checks a rule file.
    pub(super) fn load(source: &ScriptSource) -> Result<Self, ScriptError> {
        let text = match source {
            ScriptSource::Text(text) => text.clone(),
            ScriptSource::File(path) => {
                crate::file::read(path).map_err(|reason| ScriptError::Read { path: path.clone(), reason })?
            }
        };
        let script: Self = serde_saphyr::from_str(&text).map_err(|e| ScriptError::Form(e.to_string()))?;
        if script.rules.len() > limit::RULES_MAX {
            return Err(ScriptError::Form(format!("more than {} rules", limit::RULES_MAX)));
        }
        for rule in &script.rules {
            let answers = rule.answer.all();
            if answers.is_empty() || answers.iter().any(AnswerTemplate::is_empty) {
                let text = "has an answer with nothing in it; give `text`, `json`, `tool` or `tools`";
                return Err(ScriptError::Form(format!("rule `{}` {text}", rule.name)));
            }
        }
        let faults = script.rules.iter().flat_map(|rule| &rule.faults).chain(&script.faults);
        for chance in faults.filter_map(|fault| fault.chance) {
            if !(0.0..=1.0).contains(&chance) {
                return Err(ScriptError::Form(format!("chance {chance} is not between 0 and 1")));
            }
        }
        Ok(script)
    }

    /// The first rule that matches, and what it picked.
    pub(super) fn answering(&self, request: &ModelRequest, tries: u32) -> Option<(&Rule, Picked)> {
        let seen = Seen::of(request, tries);
        self.rules.iter().find(|rule| rule.when.holds(&seen)).map(|rule| (rule, rule.picks(&seen)))
    }
}

/// The parts of a request that rules look at.
struct Seen<'r> {
    request: &'r ModelRequest,
    tries: u32,
    system: String,
    user: String,
    text: String,
    result: String,
    turn: usize,
    repair: bool,
}

impl<'r> Seen<'r> {
    fn of(request: &'r ModelRequest, tries: u32) -> Self {
        let texts: Vec<(&Message, String)> = request.messages.iter().map(|m| (m, m.text())).collect();
        let said =
            |wanted: fn(&Message) -> bool| texts.iter().filter(move |(m, _)| wanted(m)).map(|(_, text)| text.as_str());
        let is_user = |m: &Message| matches!(m, Message::User { .. });
        let is_repair = |text: &&str| text.starts_with(repair::BEGINNING);
        Self {
            request,
            tries,
            system: said(|m| matches!(m, Message::System { .. })).collect::<Vec<_>>().join("\n"),
            // Whoever is asked to repair an answer is asked for the same thing as before.
            user: said(is_user).rfind(|text| !is_repair(text)).unwrap_or_default().to_owned(),
            text: texts.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"),
            result: said(|m| matches!(m, Message::Tool { .. })).next_back().unwrap_or_default().to_owned(),
            turn: said(|m| matches!(m, Message::Assistant { .. })).count(),
            repair: said(is_user).next_back().is_some_and(|text| is_repair(&text)),
        }
    }

    fn part(&self, part: Part) -> &str {
        match part {
            Part::System => &self.system,
            Part::User => &self.user,
            Part::Text => &self.text,
            Part::Result => &self.result,
        }
    }
}

impl When {
    fn holds(&self, seen: &Seen<'_>) -> bool {
        let fits = |wanted: &Option<Match>, part| wanted.as_ref().is_none_or(|m| m.fits(seen.part(part)));
        let schema = seen.request.schema.as_ref().map(|schema| schema.name.as_str());
        let offered = |name: &String| seen.request.tools.iter().any(|tool| tool.name == *name);
        fits(&self.system, Part::System)
            && fits(&self.user, Part::User)
            && fits(&self.text, Part::Text)
            && fits(&self.result, Part::Result)
            && (self.schema.is_none() || self.schema.as_deref() == schema)
            && self.tool.as_ref().is_none_or(offered)
            && self.model.as_ref().is_none_or(|model| *model == seen.request.model)
            && self.turn.as_ref().is_none_or(|turns| turns.contains(&seen.turn))
            && self.repair.is_none_or(|repair| repair == seen.repair)
            && self.tries.as_ref().is_none_or(|tries| tries.contains(&seen.tries))
    }
}

impl Match {
    fn fits(&self, text: &str) -> bool {
        self.contains.as_ref().is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
            && self.regex.as_ref().is_none_or(|pattern| pattern.0.is_match(text))
            && self.not.as_ref().is_none_or(|pattern| !pattern.0.is_match(text))
    }
}

impl Rule {
    /// The named groups of the rule's own patterns, then what `pick` asks for.
    fn picks(&self, texts: &Seen<'_>) -> Picked {
        let mut picked = Picked::new();
        let matches = [
            (&self.when.system, Part::System),
            (&self.when.user, Part::User),
            (&self.when.text, Part::Text),
            (&self.when.result, Part::Result),
        ];
        for (wanted, part) in matches {
            let Some(pattern) = wanted.as_ref().and_then(|m| m.regex.as_ref()) else { continue };
            for found in pattern.0.captures_iter(texts.part(part)) {
                for name in pattern.0.capture_names().flatten() {
                    if let Some(group) = found.name(name) {
                        add(&mut picked, name, group.as_str());
                    }
                }
            }
        }
        for (name, pick) in &self.pick {
            let (pattern, part) = match pick {
                Pick::FromUser(pattern) => (pattern, Part::User),
                Pick::From { from, regex } => (regex, *from),
            };
            for found in pattern.0.captures_iter(texts.part(part)) {
                if let Some(group) = found.get(1).or_else(|| found.get(0)) {
                    add(&mut picked, name, group.as_str());
                }
            }
        }
        picked
    }
}

fn add(picked: &mut Picked, name: &str, text: &str) {
    let all = picked.entry(name.to_owned()).or_default();
    if !all.iter().any(|known| known == text) {
        all.push(text.to_owned());
    }
}
