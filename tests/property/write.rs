//! Writes a random workflow as a definition.

use serde_json::{Map, Value, json};

use crate::model::{Rule, Task, Then};

/// The definition as JSON text.
pub(crate) fn definition(tasks: &[Task]) -> String {
    let document = json!({ "dsl": "1.0.3", "namespace": "default", "name": "random", "version": "1.0.0" });
    json!({ "document": document, "do": list(tasks, &[]) }).to_string()
}

/// `loops` are the index variables of the loops around.
fn list(tasks: &[Task], loops: &[String]) -> Value {
    let name = |n: usize| format!("t{n}");
    let named = tasks.iter().enumerate().map(|(n, task)| {
        let written = match task {
            Task::Switch(jump) => {
                let target = n + 1 + jump;
                let then = if target < tasks.len() { name(target) } else { "exit".into() };
                json!({ "switch": [{ "even": { "when": "${ (tojson | length) % 2 == 0 }", "then": then } }] })
            }
            Task::Set(_)
            | Task::Step(_)
            | Task::Raise(_)
            | Task::List(_)
            | Task::For { .. }
            | Task::Fork { .. }
            | Task::Try { .. } => self::task(task, loops),
        };
        Value::Object(Map::from_iter([(name(n), written)]))
    });
    Value::Array(named.collect())
}

fn task(task: &Task, loops: &[String]) -> Value {
    match task {
        Task::Set(then) => {
            let then = match then {
                Then::Continue => "continue",
                Then::Exit => "exit",
                Then::End => "end",
            };
            json!({ "set": { "k": "${ (tojson | length) % 7 }" }, "then": then })
        }
        Task::Switch(_) => json!({ "set": "${ . }" }),
        Task::Step(number) => {
            let at: Vec<String> = loops.iter().map(|index| format!("${{ ${index} }}")).collect();
            json!({ "call": "work", "with": { "step": number, "at": at, "in": "${ . }" } })
        }
        Task::Raise(status) => {
            json!({ "raise": { "error": { "type": "https://example.com/errors/raised", "status": status } } })
        }
        Task::List(tasks) => json!({ "do": list(tasks, loops) }),
        Task::For { items, width, body } => {
            let index = format!("i{}", loops.len());
            let inside = [loops, std::slice::from_ref(&index)].concat();
            let items: Vec<Value> = (0..*items).map(|n| json!({ "item": n })).collect();
            let mut written = json!({ "for": { "in": items, "at": index }, "do": list(body, &inside) });
            if let Some((width, rule)) = width {
                written["metadata"] = json!({ "concurrency": width });
                join(*rule, &mut written);
            }
            written
        }
        Task::Fork { rule, branches } => {
            let branches = branches.iter().enumerate().map(|(n, tasks)| {
                Value::Object(Map::from_iter([(format!("b{n}"), json!({ "do": list(tasks, loops) }))]))
            });
            let compete = *rule == Rule::Compete;
            let branches = branches.collect::<Vec<_>>();
            let mut written = json!({ "fork": { "compete": compete, "branches": branches }, "metadata": {} });
            if !compete {
                join(*rule, &mut written);
            }
            written
        }
        Task::Try { body, attempts, status, handler } => {
            let mut catch = Map::new();
            if let Some(status) = status {
                catch.insert("errors".into(), json!({ "with": { "status": status } }));
            }
            if *attempts > 1 {
                catch.insert("retry".into(), json!({ "limit": { "attempt": { "count": attempts } } }));
            }
            if let Some(handler) = handler {
                let told = json!({ "set": { "e": "${ $error.status }", "in": "${ . }" } });
                let rest = json!({ "do": list(handler, loops) });
                catch.insert("do".into(), json!([{ "told": told }, { "rest": rest }]));
            }
            json!({ "try": list(body, loops), "catch": catch })
        }
    }
}

/// Writes when branches are done. Of an error only its status is told, which is all that the model knows of it.
fn join(rule: Rule, task: &mut Value) {
    task["metadata"]["join"] = match rule {
        Rule::All | Rule::Settled => json!("all"),
        Rule::First | Rule::Compete => json!("first"),
        Rule::Any => json!("any"),
        Rule::Count(n) => json!({ "count": n }),
    };
    if rule == Rule::Settled {
        task["metadata"]["onFailure"] = json!("continue");
        task["output"] = json!({ "as": "${ .errors |= map({index, status: .error.status}) }" });
    }
}
