//! Runs and their history as people read them.

use serde_json::Value;
use stepmill_protocol::api::{HistoryEntry, RunState, RunView, StepView, WaitsFor};
use stepmill_protocol::{CloudEvent, Millis, Problem, Timestamp};

use crate::error::{CliError, FAILED};
use crate::output::{Output, table};
use crate::when;

/// Shows a run in full.
pub(crate) fn run_view(view: &RunView) -> String {
    let mut rows = vec![
        ("run", view.run.to_string()),
        ("workflow", format!("{} {} (namespace {})", view.workflow, view.version, view.namespace)),
        ("state", view.state.as_str().to_owned()),
        ("submitted", when::date_time(view.submitted_at)),
    ];
    if let Some(ended) = view.ended_at {
        rows.push(("ended", format!("{} (after {})", when::date_time(ended), when::length(took(view, ended)))));
    }
    if let Some(parent) = &view.parent {
        rows.push(("started by", format!("{} of run {}", parent.path, parent.run)));
    }
    rows.push(("steps done", view.steps_done.to_string()));
    if view.attempts_failed > 0 {
        rows.push(("attempts failed", view.attempts_failed.to_string()));
    }
    let usage = view.usage;
    if usage.model_calls > 0 {
        rows.push(("model", format!("{} calls, {} + {} tokens", usage.model_calls, usage.tokens_in, usage.tokens_out)));
    }
    rows.extend(view.live.iter().map(|step| ("at", live_step(step))));
    if let Some(error) = &view.error {
        rows.push(("error", problem(error)));
    }
    if let Some(output) = &view.output {
        rows.push(("output", pretty(output)));
    }
    let mut shown = table(&[]);
    for (name, value) in rows {
        shown.add_row([name, &value]);
    }
    shown.trim_fmt()
}

fn took(view: &RunView, ended: Timestamp) -> Millis {
    ended.since(view.submitted_at)
}

/// A step that a run is at now, in one line.
pub(crate) fn live_step(step: &StepView) -> String {
    let what = match step.waits_for {
        WaitsFor::Report => "waits for a worker's report",
        WaitsFor::Retry => "waits for its next attempt",
        WaitsFor::Time => "waits for time to pass",
        WaitsFor::Event => "listens for an event",
        WaitsFor::Turn => "waits for its turn",
    };
    let mut line = format!("{} {what}", step.path);
    if let Some(kind) = &step.kind {
        line += &format!(" ({kind}");
        if let Some(attempt) = step.attempt {
            line += &format!(", attempt {attempt}");
        }
        line.push(')');
    }
    if let Some(child) = step.child {
        line += &format!(", run {child}");
    }
    if let Some(until) = step.until {
        line += &format!(", until {}", when::date_time(until));
    }
    line
}

/// A list of runs.
pub(crate) fn run_list(runs: &[RunView]) -> String {
    let mut shown = table(&["run", "workflow", "version", "state", "submitted", "took", "steps"]);
    for view in runs {
        let took = view.ended_at.map_or_else(|| "-".into(), |ended| when::length(took(view, ended)));
        shown.add_row([
            view.run.to_string(),
            view.workflow.to_string(),
            view.version.to_string(),
            view.state.as_str().to_owned(),
            when::date_time(view.submitted_at),
            took,
            view.steps_done.to_string(),
        ]);
    }
    shown.trim_fmt()
}

/// One entry of a run's history in one line; none for entries that only machines care about.
pub(crate) fn history_entry(entry: &HistoryEntry) -> Option<String> {
    let body = &entry.record;
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let line = match entry.event.as_str() {
        "submitted" => format!("submitted {}", text("workflow")),
        "report" => report(body),
        "signal" => format!("signal `{}`: {}", text("name"), body.get("data").cloned().unwrap_or_default()),
        "timer_due" => format!("timer {} is due", body.get("timer").cloned().unwrap_or_default()),
        "cancel" => format!("cancel: {}", text("reason")),
        "park" => format!("parked: {}", text("reason")),
        "task_lost" => "a task was lost by the broker and is sent again".into(),
        "unreadable" => format!("a record that cannot be read: {body}"),
        "resume" | "snapshot" => return None,
        other => other.to_owned(),
    };
    Some(format!("{}  {line}", when::time_of_day(entry.at)))
}

/// A life-cycle event in one line.
pub(crate) fn life_event(event: &CloudEvent) -> String {
    let data = event.data();
    let text = |key: &str| data.get(key).and_then(Value::as_str);
    let kind = event.kind().trim_start_matches("io.serverlessworkflow.").trim_end_matches(".v1");
    let (whose, what) = kind.split_once('.').unwrap_or(("", kind));
    let time = event.attribute("time").and_then(Value::as_str).unwrap_or_default();
    let time = time.split_once('T').map_or(time, |(_, time)| time.trim_end_matches('Z'));
    let subject = text("task").or(text("name")).unwrap_or_default();
    let error = data.get("error").and_then(|e| serde_json::from_value::<Problem>(e.clone()).ok());
    let why = error.map_or_else(String::new, |e| format!(": {}", problem(&e)));
    format!("{time}  {whose:<8}  {what:<21}  {subject}{why}")
}

fn report(body: &Value) -> String {
    let path = body.get("path").and_then(Value::as_str).unwrap_or("?");
    let attempt = body.get("attempt").and_then(Value::as_u64).unwrap_or(0);
    let took = when::length(Millis(body.get("took_ms").and_then(Value::as_u64).unwrap_or(0)));
    let outcome = body.get("outcome");
    let Some(failed) = outcome.and_then(|o| o.get("failed")) else {
        let tries = if attempt > 1 { format!(", attempt {attempt}") } else { String::new() };
        return format!("{path} done in {took}{tries}");
    };
    let why = failed
        .get("problem")
        .and_then(|p| serde_json::from_value::<Problem>(p.clone()).ok())
        .map_or_else(|| "no reason given".into(), |p| problem(&p));
    let next = match (failed.get("retryable"), failed.get("redeliver_after").and_then(Value::as_u64)) {
        (_, Some(delay)) => format!("; again in {}", when::length(Millis(delay))),
        (Some(Value::Bool(true)), None) => String::new(),
        (_, None) => "; not to be retried".into(),
    };
    format!("{path} attempt {attempt} failed after {took}: {why}{next}")
}

/// An error in one line.
pub(crate) fn problem(problem: &Problem) -> String {
    match &problem.instance {
        Some(place) => format!("{problem} (status {}, at {place})", problem.status),
        None => format!("{problem} (status {})", problem.status),
    }
}

/// A value over several lines.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// Ends a command that waited for a run: its output on stdout, how it went on stderr, failure as exit code.
pub(crate) fn finish(out: Output, view: &RunView) -> Result<(), CliError> {
    out.json(view)?;
    if let Some(output) = &view.output {
        out.text(&pretty(output))?;
    }
    let took = view.ended_at.map_or_else(String::new, |ended| format!(" after {}", when::length(took(view, ended))));
    out.note(&format!("run {} {}{took}, {} steps done by workers", view.run, view.state.as_str(), view.steps_done));
    if let Some(error) = &view.error {
        out.note(&problem(error));
    }
    match view.state {
        RunState::Completed => Ok(()),
        RunState::Running | RunState::Faulted | RunState::Cancelled | RunState::Parked => Err(CliError::silent(FAILED)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &str, record: Value) -> Option<String> {
        history_entry(&HistoryEntry { seq: 1, at: Timestamp(1_500), event: event.into(), record })
    }

    #[test]
    fn each_event_is_one_line() {
        let failed = json!({
            "path": "/do/0/ask", "attempt": 1, "took_ms": 40,
            "outcome": { "failed": {
                "problem": { "type": "x", "status": 429, "title": "Busy", "detail": "try later" },
                "retryable": true, "redeliver_after": 500,
            } },
        });
        let done =
            json!({ "path": "/do/0/ask", "attempt": 2, "took_ms": 1200, "outcome": { "succeeded": { "output": 1 } } });
        let shown: Vec<String> = [
            line("submitted", json!({ "workflow": "flow" })),
            line("report", failed),
            line("report", done),
            line("signal", json!({ "name": "go", "data": { "n": 1 } })),
            line("cancel", json!({ "reason": "no longer wanted" })),
        ]
        .into_iter()
        .flatten()
        .collect();
        let expected = [
            "00:00:01.500  submitted flow",
            "00:00:01.500  /do/0/ask attempt 1 failed after 40 ms: Busy: try later (status 429); again in 500 ms",
            "00:00:01.500  /do/0/ask done in 1.2 s, attempt 2",
            "00:00:01.500  signal `go`: {\"n\":1}",
            "00:00:01.500  cancel: no longer wanted",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn each_life_cycle_event_is_one_line() {
        let event = |kind: &str, data: Value| {
            life_event(
                &CloudEvent::try_from(json!({
                    "specversion": "1.0", "id": "1", "source": "/a", "type": format!("io.serverlessworkflow.{kind}.v1"),
                    "time": "2026-01-31T12:00:00.000Z", "data": data,
                }))
                .unwrap(),
            )
        };
        assert_eq!(
            event(
                "task.faulted",
                json!({ "task": "/do/0/a", "error": { "type": "x", "status": 500, "title": "Broken" } })
            ),
            "12:00:00.000  task      faulted                /do/0/a: Broken (status 500)"
        );
        assert_eq!(
            event("workflow.correlation-started", json!({ "name": "flow-1.default" })),
            "12:00:00.000  workflow  correlation-started    flow-1.default"
        );
    }

    #[test]
    fn entries_for_machines_are_left_out() {
        assert_eq!(line("snapshot", json!({ "as_of": 1 })), None);
        assert_eq!(line("resume", json!({ "number": 1 })), None);
    }
}
