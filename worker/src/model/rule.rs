//! The rule file of a scripted model: its form, its checks, and which rule answers a request. A rule sees nothing but
//! the request. [`super::Scripted`] shows an example of everything it may hold.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::template::Picked;
use super::{ChatRequest, Role};
use crate::limit;

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
    #[error("the rules of the scripted model cannot be read from {path}: {reason}; check STEPMILL_LLM_SCRIPT")]
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
pub(super) struct Script {
    #[serde(default = "default_model")]
    pub(super) model: String,
    #[serde(default)]
    pub(super) seed: u64,
    #[serde(default)]
    pub(super) latency_ms: Latency,
    #[serde(default)]
    pub(super) faults: Vec<Fault>,
    pub(super) rules: Vec<Rule>,
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
    pub(super) answer: AnswerTemplate,
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
    schema: Option<String>,
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
}

/// What a rule answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum AnswerTemplate {
    /// A JSON value.
    Json(Value),
    /// A text.
    Text(String),
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

/// Something that goes wrong: in the named tries, by chance, or (where neither is said) always.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    #[serde(default)]
    pub(super) chance: Option<f64>,
    #[serde(default)]
    pub(super) tries: Option<Vec<u32>>,
    #[serde(default)]
    pub(super) retry_after_ms: Option<u64>,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultKind {
    /// The answer breaks off in the middle of its JSON.
    Malformed,
    /// 429.
    RateLimited,
    /// 500.
    ServerError,
    /// No answer in time.
    Timeout,
    /// The model declines.
    Refusal,
    /// The answer reaches the limit of tokens.
    Length,
}

fn default_model() -> String {
    "scripted".into()
}

impl Script {
    /// Reads and checks a rule file.
    pub(super) fn load(source: &ScriptSource) -> Result<Self, ScriptError> {
        let text = match source {
            ScriptSource::Text(text) => text.clone(),
            ScriptSource::File(path) => {
                let unread = |reason: String| ScriptError::Read { path: path.clone(), reason };
                let size = std::fs::metadata(path).map_err(|e| unread(e.to_string()))?.len();
                if size > limit::SCRIPT_BYTES_MAX {
                    return Err(unread(format!("it has {size} bytes, {} are allowed", limit::SCRIPT_BYTES_MAX)));
                }
                std::fs::read_to_string(path).map_err(|e| unread(e.to_string()))?
            }
        };
        let script: Self = serde_saphyr::from_str(&text).map_err(|e| ScriptError::Form(e.to_string()))?;
        if script.rules.len() > limit::RULES_MAX {
            return Err(ScriptError::Form(format!("more than {} rules", limit::RULES_MAX)));
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
    pub(super) fn answering(&self, request: &ChatRequest) -> Option<(&Rule, Picked)> {
        let texts = Texts::of(request);
        self.rules.iter().find(|rule| rule.when.holds(request, &texts)).map(|rule| (rule, rule.picks(&texts)))
    }
}

/// The parts of a request that rules look at.
struct Texts {
    system: String,
    user: String,
    text: String,
}

impl Texts {
    fn of(request: &ChatRequest) -> Self {
        let said = |role| request.messages.iter().filter(move |m| m.role == role).map(|m| m.content.as_str());
        let all: Vec<&str> = request.messages.iter().map(|m| m.content.as_str()).collect();
        Self {
            system: said(Role::System).collect::<Vec<_>>().join("\n"),
            user: said(Role::User).next_back().unwrap_or_default().to_owned(),
            text: all.join("\n"),
        }
    }

    fn part(&self, part: Part) -> &str {
        match part {
            Part::System => &self.system,
            Part::User => &self.user,
            Part::Text => &self.text,
        }
    }
}

impl When {
    fn holds(&self, request: &ChatRequest, texts: &Texts) -> bool {
        let fits = |wanted: &Option<Match>, text: &str| wanted.as_ref().is_none_or(|m| m.fits(text));
        let schema = request.schema.as_ref().map(|schema| schema.name.as_str());
        fits(&self.system, &texts.system)
            && fits(&self.user, &texts.user)
            && fits(&self.text, &texts.text)
            && (self.schema.is_none() || self.schema.as_deref() == schema)
            && self.tries.as_ref().is_none_or(|tries| tries.contains(&request.tries))
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
    fn picks(&self, texts: &Texts) -> Picked {
        let mut picked = Picked::new();
        let matches = [(&self.when.system, Part::System), (&self.when.user, Part::User), (&self.when.text, Part::Text)];
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
