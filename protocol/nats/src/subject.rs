//! Every subject, stream and consumer name. Nothing else spells one.

use stepmill_protocol::{Namespace, PartitionNo, PoolName, Priority, RunId, StepKind, Version, WorkflowName};

/// Submissions by plain publish.
pub const JOBS_STREAM: &str = "SM_JOBS";
/// The only input of the engine.
pub const LOG_STREAM: &str = "SM_LOG";
/// Definitions.
pub const DEFS_STREAM: &str = "SM_DEFS";
/// Dead letters.
pub const DEAD_STREAM: &str = "SM_DEAD";
/// CloudEvents.
pub const EVENTS_STREAM: &str = "SM_EVENTS";
/// What the names of the pools' streams begin with.
pub const TASKS_STREAM_PREFIX: &str = "SM_TASKS_";
/// The durable consumer of [`JOBS_STREAM`].
pub const JOBS_CONSUMER: &str = "intake";
/// The name of the micro service.
pub const SERVICE: &str = "stepmill";
/// The queue group of everything that any coordinator may answer.
pub const QUEUE_GROUP: &str = "stepmill";

/// All of [`JOBS_STREAM`].
pub const JOBS_ALL: &str = "sm.job.*.*";
/// All of [`LOG_STREAM`].
pub const LOG_ALL: &str = "sm.log.>";
/// All of [`DEFS_STREAM`].
pub const DEFS_ALL: &str = "sm.def.*.*.*";
/// All of [`DEAD_STREAM`].
pub const DEAD_ALL: &str = "sm.dead.*";
/// All of [`EVENTS_STREAM`].
pub const EVENTS_ALL: &str = "sm.event.>";
/// All calls of the API.
pub const API_ALL: &str = "sm.api.*.*";
/// All announcements of workers that wait for their pool's queue.
pub const JOIN_ALL: &str = "sm.ask.*.join";

/// All tasks of all pools.
pub const TASKS_ALL: &str = "sm.task.>";

/// The word that stands for the pool in the dead letters of log events.
const DEAD_LOG: &str = "_log";

/// `sm.job.<namespace>.<workflow>`
#[must_use]
pub fn job(namespace: &Namespace, workflow: &WorkflowName) -> String {
    format!("sm.job.{namespace}.{workflow}")
}

/// Reads a subject made by [`job`].
#[must_use]
pub fn parse_job(subject: &str) -> Option<(Namespace, WorkflowName)> {
    let (namespace, workflow) = subject.strip_prefix("sm.job.")?.split_once('.')?;
    Some((Namespace::new(namespace).ok()?, WorkflowName::new(workflow).ok()?))
}

/// The stream of a pool's tasks.
#[must_use]
pub fn tasks_stream(pool: &PoolName) -> String {
    format!("{TASKS_STREAM_PREFIX}{pool}")
}

/// The pool of a name made by [`tasks_stream`].
#[must_use]
pub fn parse_tasks_stream(name: &str) -> Option<PoolName> {
    PoolName::new(name.strip_prefix(TASKS_STREAM_PREFIX)?).ok()
}

/// The durable consumer of one priority of a pool.
#[must_use]
pub fn tasks_consumer(pool: &PoolName, priority: Priority) -> String {
    format!("{pool}-{}", priority.as_str())
}

/// All tasks of a pool.
#[must_use]
pub fn tasks_all(pool: &PoolName) -> String {
    format!("sm.task.{pool}.>")
}

/// All tasks of one priority of a pool.
#[must_use]
pub fn tasks_of(pool: &PoolName, priority: Priority) -> String {
    format!("sm.task.{pool}.{}.>", priority.as_str())
}

/// `sm.task.<pool>.<priority>.<kind>`
#[must_use]
pub fn task(pool: &PoolName, priority: Priority, kind: &StepKind) -> String {
    format!("sm.task.{pool}.{}.{kind}", priority.as_str())
}

/// Who wrote a record of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogWriter {
    /// A coordinator.
    Coordinator,
    /// A worker of this pool.
    Worker(PoolName),
    /// A coordinator, and the record is a snapshot.
    Snapshot,
}

/// What the subject of a log record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSubject {
    /// The partition.
    pub partition: PartitionNo,
    /// The run.
    pub run: RunId,
    /// Who wrote it.
    pub writer: LogWriter,
}

impl LogSubject {
    /// `sm.log.<partition>.<run>.{c, s, w.<pool>}`
    #[must_use]
    pub fn render(&self) -> String {
        let Self { partition, run, writer } = self;
        match writer {
            LogWriter::Coordinator => format!("sm.log.{partition}.{run}.c"),
            LogWriter::Snapshot => format!("sm.log.{partition}.{run}.s"),
            LogWriter::Worker(pool) => format!("sm.log.{partition}.{run}.w.{pool}"),
        }
    }

    /// Reads what [`LogSubject::render`] made.
    #[must_use]
    pub fn parse(subject: &str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("sm.log.")?.split('.');
        let partition = PartitionNo(tokens.next()?.parse().ok()?);
        let run = tokens.next()?.parse().ok()?;
        let writer = match tokens.next()? {
            "c" => LogWriter::Coordinator,
            "s" => LogWriter::Snapshot,
            "w" => LogWriter::Worker(PoolName::new(tokens.next()?).ok()?),
            _ => return None,
        };
        tokens.next().is_none().then_some(Self { partition, run, writer })
    }
}

/// All records of a partition.
#[must_use]
pub fn log_of(partition: PartitionNo) -> String {
    format!("sm.log.{partition}.>")
}

/// All records of a run.
#[must_use]
pub fn log_of_run(partition: PartitionNo, run: RunId) -> String {
    format!("sm.log.{partition}.{run}.>")
}

/// All snapshots of a partition.
#[must_use]
pub fn snapshots_of(partition: PartitionNo) -> String {
    format!("sm.log.{partition}.*.s")
}

/// `sm.def.<namespace>.<name>.<version>`, the version as one token.
#[must_use]
pub fn definition(namespace: &Namespace, name: &WorkflowName, version: &Version) -> String {
    format!("sm.def.{namespace}.{name}.{}", encode_version(&version.0))
}

/// Reads what [`definition`] made.
#[must_use]
pub fn parse_definition(subject: &str) -> Option<(Namespace, WorkflowName, Version)> {
    let mut tokens = subject.strip_prefix("sm.def.")?.split('.');
    let namespace = Namespace::new(tokens.next()?).ok()?;
    let name = WorkflowName::new(tokens.next()?).ok()?;
    let version = decode_version(tokens.next()?)?;
    tokens.next().is_none().then_some((namespace, name, Version(version)))
}

/// Dots become `_`; every byte but letters, digits, `-` and `+` becomes `=` and two hex digits. Never empty.
fn encode_version(version: &str) -> String {
    if version.is_empty() {
        return "=".into();
    }
    let mut token = String::with_capacity(version.len());
    for byte in version.bytes() {
        match byte {
            b'.' => token.push('_'),
            b'-' | b'+' => token.push(char::from(byte)),
            b if b.is_ascii_alphanumeric() => token.push(char::from(b)),
            b => token.push_str(&format!("={b:02X}")),
        }
    }
    token
}

fn decode_version(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'_' => bytes.push(b'.'),
            b'=' => {
                let pair = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            }
            b => bytes.push(b),
        }
    }
    String::from_utf8(bytes).ok()
}

/// `sm.event.<namespace>.<type>`: the type in its own words, each as one token.
#[must_use]
pub fn event(namespace: &Namespace, kind: &str) -> String {
    let words = kind.split('.').map(encode_word);
    format!("sm.event.{namespace}.{}", words.collect::<Vec<_>>().join("."))
}

/// The namespace of a subject made by [`event`], or of any other of the stream.
#[must_use]
pub fn parse_event(subject: &str) -> Option<Namespace> {
    let (namespace, kind) = subject.strip_prefix("sm.event.")?.split_once('.')?;
    if kind.is_empty() { None } else { Namespace::new(namespace).ok() }
}

/// Every byte but letters, digits, `-` and `_` becomes `=` and two hex digits. Never empty.
fn encode_word(word: &str) -> String {
    if word.is_empty() {
        return "=".into();
    }
    let mut token = String::with_capacity(word.len());
    for byte in word.bytes() {
        match char::from(byte) {
            c if c.is_ascii_alphanumeric() || c == '-' || c == '_' => token.push(c),
            _ => token.push_str(&format!("={byte:02X}")),
        }
    }
    token
}

/// `sm.life.<namespace>.<workflow>.<run>`
#[must_use]
pub fn life(namespace: &Namespace, workflow: &WorkflowName, run: RunId) -> String {
    format!("sm.life.{namespace}.{workflow}.{run}")
}

/// The life-cycle events of a namespace, of one workflow or run if said.
#[must_use]
pub fn life_of(namespace: &Namespace, workflow: Option<&WorkflowName>, run: Option<RunId>) -> String {
    let workflow = workflow.map_or("*", WorkflowName::as_str);
    let run = run.map_or_else(|| "*".to_owned(), |run| run.to_string());
    format!("sm.life.{namespace}.{workflow}.{run}")
}

/// Reads what [`life`] made.
#[must_use]
pub fn parse_life(subject: &str) -> Option<(Namespace, WorkflowName, RunId)> {
    let mut tokens = subject.strip_prefix("sm.life.")?.split('.');
    let namespace = Namespace::new(tokens.next()?).ok()?;
    let workflow = WorkflowName::new(tokens.next()?).ok()?;
    let run = tokens.next()?.parse().ok()?;
    tokens.next().is_none().then_some((namespace, workflow, run))
}

/// `sm.dead.<pool>`, for log events `sm.dead._log`.
#[must_use]
pub fn dead(pool: Option<&PoolName>) -> String {
    format!("sm.dead.{}", pool.map_or(DEAD_LOG, PoolName::as_str))
}

/// `sm.api.<namespace>.<verb>`
#[must_use]
pub fn api(namespace: &Namespace, verb: &str) -> String {
    format!("sm.api.{namespace}.{verb}")
}

/// Reads what [`api`] made; the namespace is not checked yet, so that the caller can be told what is wrong with it.
#[must_use]
pub fn parse_api(subject: &str) -> Option<(&str, &str)> {
    subject.strip_prefix("sm.api.")?.split_once('.')
}

/// `sm.ask.<pool>.<partition>`: a worker's question to the owner.
#[must_use]
pub fn ask(pool: &PoolName, partition: PartitionNo) -> String {
    format!("sm.ask.{pool}.{partition}")
}

/// All questions to the owner of a partition.
#[must_use]
pub fn asks_of(partition: PartitionNo) -> String {
    format!("sm.ask.*.{partition}")
}

/// The pool of a subject made by [`ask`] or [`join`].
#[must_use]
pub fn parse_ask(subject: &str) -> Option<PoolName> {
    let (pool, _) = subject.strip_prefix("sm.ask.")?.split_once('.')?;
    PoolName::new(pool).ok()
}

/// `sm.ask.<pool>.join`: a worker waits for its pool's queue.
#[must_use]
pub fn join(pool: &PoolName) -> String {
    format!("sm.ask.{pool}.join")
}

/// `sm.own.<partition>`: what coordinators ask the owner of a partition.
#[must_use]
pub fn own(partition: PartitionNo) -> String {
    format!("sm.own.{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        "0198f2c4-7a11-7cc0-8a77-0123456789ab".parse().unwrap()
    }

    #[test]
    fn log_subjects_survive() {
        let pool = PoolName::new("llm").unwrap();
        for writer in [LogWriter::Coordinator, LogWriter::Snapshot, LogWriter::Worker(pool)] {
            let subject = LogSubject { partition: PartitionNo(7), run: run(), writer };
            assert_eq!(LogSubject::parse(&subject.render()), Some(subject));
        }
    }

    #[test]
    fn foreign_log_subjects_are_refused() {
        let id = run();
        for bad in [
            "sm.log.7".to_string(),
            "sm.log.7.x.c".into(),
            format!("sm.log.x.{id}.c"),
            format!("sm.log.7.{id}.q"),
            format!("sm.log.7.{id}.w"),
            format!("sm.log.7.{id}.c.d"),
            format!("sm.other.7.{id}.c"),
        ] {
            assert_eq!(LogSubject::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn versions_are_one_token_and_come_back() {
        let (ns, name) = (Namespace::new("a").unwrap(), WorkflowName::new("b").unwrap());
        for version in ["1.0.3", "1.0.0-rc.1+build_7", "", "=", "ä *>", "1_0", "x=2E"] {
            let subject = definition(&ns, &name, &Version(version.into()));
            assert_eq!(subject.split('.').count(), 5, "{subject}");
            assert!(!subject.contains([' ', '*', '>']), "{subject}");
            assert_eq!(parse_definition(&subject), Some((ns.clone(), name.clone(), Version(version.into()))));
        }
        assert_eq!(definition(&ns, &name, &Version("1.0.3".into())), "sm.def.a.b.1_0_3");
        assert_eq!(parse_definition("sm.def.a.b.=G0"), None);
    }

    #[test]
    fn the_words_of_an_events_type_are_tokens() {
        let ns = Namespace::new("team-1").unwrap();
        assert_eq!(event(&ns, "com.example.order_placed.v1"), "sm.event.team-1.com.example.order_placed.v1");
        for kind in ["a b", "*", ">", "a..b", ".", "ä", "a.>"] {
            let subject = event(&ns, kind);
            assert!(!subject.contains([' ', '*', '>']) && !subject.contains(".."), "{subject}");
            assert_eq!(parse_event(&subject), Some(ns.clone()));
        }
        assert_eq!(parse_event("sm.event.a b.c"), None);
        assert_eq!(parse_event("sm.event.a"), None);
    }

    #[test]
    fn jobs_and_questions_come_back() {
        let (ns, name) = (Namespace::new("team-1").unwrap(), WorkflowName::new("flow").unwrap());
        assert_eq!(parse_job(&job(&ns, &name)), Some((ns.clone(), name)));
        assert_eq!(parse_job("sm.job.a.b.c"), None);
        let flow = WorkflowName::new("flow").unwrap();
        assert_eq!(parse_life(&life(&ns, &flow, run())), Some((ns.clone(), flow, run())));
        assert_eq!(parse_life(&life_of(&ns, None, None)), None);
        let pool = PoolName::new("llm").unwrap();
        assert_eq!(parse_tasks_stream(&tasks_stream(&pool)), Some(pool.clone()));
        assert_eq!(parse_tasks_stream("SM_LOG"), None);
        assert_eq!(parse_ask(&ask(&pool, PartitionNo(3))), Some(pool.clone()));
        assert_eq!(parse_ask(&join(&pool)), Some(pool));
        assert_eq!(parse_api(&api(&ns, "submit")), Some(("team-1", "submit")));
    }
}
