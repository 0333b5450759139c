//! Identifiers. Each is parsed once at the border and believed afterwards. Names are restricted to characters that are
//! safe in NATS subjects, Redis keys and file names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limit;

/// A name or id that does not have the right form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a valid {what}: {rule}")]
pub struct InvalidId {
    /// What was expected, for instance `namespace`.
    pub what: &'static str,
    /// The text that was given (cut to 80 characters).
    pub given: String,
    /// The rule that it breaks.
    pub rule: String,
}

fn check_name(what: &'static str, s: &str) -> Result<(), InvalidId> {
    let fail = |rule: String| Err(InvalidId { what, given: s.chars().take(80).collect(), rule });
    if s.is_empty() {
        return fail("it is empty".into());
    }
    if s.len() > limit::NAME_BYTES_MAX {
        return fail(format!("it has {} bytes, {} are allowed", s.len(), limit::NAME_BYTES_MAX));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if s.bytes().all(allowed) {
        return Ok(());
    }
    match s.chars().find(|c| !u8::try_from(*c).is_ok_and(allowed)) {
        Some(c) => fail(format!("`{c}` is not allowed; use letters, digits, `-` and `_`")),
        None => Ok(()),
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks the form and keeps the name.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is empty, too long or holds another character than letters, digits, `-`, `_`.
            pub fn new(s: &str) -> Result<Self, InvalidId> {
                check_name($what, s)?;
                Ok(Self(s.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(s: String) -> Result<Self, InvalidId> {
                Self::new(&s)
            }
        }

        impl From<$name> for String {
            fn from(n: $name) -> Self {
                n.0.to_string()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_str(NameVisitor(Self::new))
            }
        }
    };
}

/// Checks a name where it stands, without a copy of the text.
struct NameVisitor<T>(fn(&str) -> Result<T, InvalidId>);

impl<T> serde::de::Visitor<'_> for NameVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<T, E> {
        (self.0)(s).map_err(E::custom)
    }
}

name_type!(
    /// A tenant's space: workflows, runs and budgets of one namespace do not see those of another.
    Namespace, "namespace");
name_type!(
    /// The name of a workflow inside its namespace.
    WorkflowName, "workflow name");
name_type!(
    /// A set of workers that takes the same tasks.
    PoolName, "pool name");
name_type!(
    /// What kind of step a task asks for: `http`, `llm` or the name under which a worker registered a handler.
    StepKind, "step kind");

impl PoolName {
    /// The pool of what the system does itself: no worker serves it, no definition may name it.
    pub const SYSTEM: &'static str = "system";

    /// The pool of what the system does itself.
    #[must_use]
    pub fn system() -> Self {
        Self(Self::SYSTEM.into())
    }

    /// Whether it is the pool of what the system does itself.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.as_str() == Self::SYSTEM
    }
}

/// The version of a definition: a semantic version as text, for instance `1.0.3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The address of a definition: the BLAKE3 hash of its source, 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(pub std::sync::Arc<str>);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One execution of a plan. UUIDv7, or UUIDv5 of namespace, workflow and idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The id that every submission with this idempotency key gets.
    #[must_use]
    pub fn derived(namespace: &Namespace, workflow: &WorkflowName, key: &str) -> Self {
        let name = format!("{namespace}/{workflow}/{key}");
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()))
    }

    /// The id of the run that a step starts: the same for every dispatch of one visit and pass, so that it starts once.
    #[must_use]
    pub fn child(id: &CommandId, path: &StepPath) -> Self {
        let name = format!("child/{}/{}", id.idempotency_key(path), id.pass);
        Self(Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()))
    }

    /// The partition that owns this run when the installation has `partitions` of them (at least 1).
    #[must_use]
    pub fn partition(self, partitions: u16) -> PartitionNo {
        let low = self.0.as_u64_pair().1;
        PartitionNo(u16::try_from(low % u64::from(partitions.max(1))).unwrap_or(0))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

impl FromStr for RunId {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(s).map(Self).map_err(|e| InvalidId {
            what: "run id",
            given: s.chars().take(80).collect(),
            rule: format!("a UUID is expected ({e})"),
        })
    }
}

// Text for people and JSON, 16 bytes for MessagePack.
impl Serialize for RunId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { s.serialize_bytes(self.0.as_bytes()) }
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = RunId;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a run id (UUID)")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<RunId, E> {
                s.parse().map_err(E::custom)
            }
            fn visit_bytes<E: serde::de::Error>(self, b: &[u8]) -> Result<RunId, E> {
                Uuid::from_slice(b).map(RunId).map_err(E::custom)
            }
        }
        d.deserialize_any(V)
    }
}

/// A slice of all runs with one owner at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionNo(pub u16);

impl fmt::Display for PartitionNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A place in a plan: the JSON pointer of the standard, for instance `/do/1/charge`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepPath(pub std::sync::Arc<str>);

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident, $repr:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_type!(
    /// One entry of a token into a step; numbered per run from 1.
    Visit, u64);
number_type!(
    /// The number of a block retry (`try`/`retry`) within a visit, from 0.
    Pass, u32);
number_type!(
    /// One try at a step, from 1.
    AttemptNo, u32);
number_type!(
    /// A timer of a run; numbered per run from 1.
    TimerId, u64);
number_type!(
    /// A value that a run stores once and refers to; numbered per run from 1.
    ValueId, u64);

/// How urgent a task is. Each priority of a pool has a durable consumer of its own; workers drain the higher first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before everything else.
    High,
    /// Unless said otherwise.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// All priorities, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The word in subjects and consumer names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }
}

/// The id of one dispatch of a step; derived, so that publishing twice is publishing once.
/// Text form: `<run>.<visit>.<pass>.<dispatch>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CommandId {
    /// The run.
    pub run: RunId,
    /// The visit of the step.
    pub visit: Visit,
    /// The pass in it.
    pub pass: Pass,
    /// The number of the dispatch within visit and pass, from 1. The engine counts it up whenever it dispatches anew.
    pub dispatch: u32,
}

impl CommandId {
    /// The idempotency key of the step: the same for all passes, attempts and dispatches of one visit.
    #[must_use]
    pub fn idempotency_key(&self, path: &StepPath) -> String {
        format!("{}:{}:{}", self.run, path, self.visit)
    }

    /// The id of the event that a step emits: derived from its idempotency key, so that emitting it again is emitting it once.
    #[must_use]
    pub fn event_id(&self, path: &StepPath) -> String {
        let name = format!("event/{}", self.idempotency_key(path));
        Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string()
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.run, self.visit, self.pass, self.dispatch)
    }
}

impl FromStr for CommandId {
    type Err = InvalidId;
    fn from_str(s: &str) -> Result<Self, InvalidId> {
        let bad = || InvalidId {
            what: "command id",
            given: s.chars().take(80).collect(),
            rule: "`<run>.<visit>.<pass>.<dispatch>` is expected".into(),
        };
        let mut parts = s.split('.');
        let mut next = || parts.next().ok_or_else(bad);
        let id = Self {
            run: next()?.parse()?,
            visit: Visit(next()?.parse().map_err(|_| bad())?),
            pass: Pass(next()?.parse().map_err(|_| bad())?),
            dispatch: next()?.parse().map_err(|_| bad())?,
        };
        if parts.next().is_some() { Err(bad()) } else { Ok(id) }
    }
}

/// What a worker must echo in its report, so that nobody reports a step whose task he did not get. 16 bytes, derived
/// from the run's secret and the command id; hex in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskToken(pub [u8; 16]);

impl fmt::Debug for TaskToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TaskToken(..)")
    }
}

impl Serialize for TaskToken {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            let hex: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
            s.serialize_str(&hex)
        } else {
            s.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for TaskToken {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = TaskToken;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 bytes, or 32 hex digits")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<TaskToken, E> {
                let bytes: Option<Vec<u8>> = (s.len() == 32 && s.is_ascii())
                    .then(|| (0..16).map(|i| u8::from_str_radix(&s[2 * i..2 * i + 2], 16).ok()).collect())
                    .flatten();
                bytes
                    .and_then(|b| b.try_into().ok())
                    .map(TaskToken)
                    .ok_or_else(|| E::custom("a token has 32 hex digits"))
            }
            fn visit_bytes<E: serde::de::Error>(self, b: &[u8]) -> Result<TaskToken, E> {
                b.try_into().map(TaskToken).map_err(|_| E::custom("a token has 16 bytes"))
            }
        }
        d.deserialize_any(V)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_a_subject_cannot_hold() {
        for bad in ["", "a.b", "a b", "a*", "ä", &"x".repeat(64)] {
            assert!(Namespace::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Namespace::new("team-1_b").map(String::from), Ok("team-1_b".into()));
    }

    #[test]
    fn command_ids_survive_their_text_form() {
        let id = CommandId { run: RunId(Uuid::from_u128(7)), visit: Visit(3), pass: Pass(1), dispatch: 2 };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("x.1.2.3".parse::<CommandId>().is_err());
        assert!(format!("{id}.4").parse::<CommandId>().is_err());
    }

    #[test]
    fn ids_survive_both_codecs() {
        let id = (RunId(Uuid::from_u128(9)), TaskToken([7; 16]));
        let json = serde_json::to_vec(&id).unwrap();
        assert_eq!(serde_json::from_slice::<(RunId, TaskToken)>(&json).unwrap(), id);
        let pack = rmp_serde::to_vec_named(&id).unwrap();
        assert_eq!(rmp_serde::from_slice::<(RunId, TaskToken)>(&pack).unwrap(), id);
    }
}
