//! Random workflows.

use proptest::prelude::*;

use crate::model::{Rule, Task, Then};

/// A workflow of a few tasks, nested up to three deep. Its steps are numbered.
pub(crate) fn workflow() -> impl Strategy<Value = Vec<Task>> {
    list(task()).prop_map(|mut tasks| {
        let mut last = 0;
        number(&mut tasks, &mut last);
        tasks
    })
}

fn task() -> BoxedStrategy<Task> {
    let then = prop_oneof![8 => Just(Then::Continue), 2 => Just(Then::Exit), 1 => Just(Then::End)];
    let leaf = prop_oneof![
        8 => Just(Task::Step(0)),
        3 => then.prop_map(Task::Set),
        2 => (0..3_usize).prop_map(Task::Switch),
        1 => prop_oneof![Just(500_u16), Just(503)].prop_map(Task::Raise),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            1 => list(inner.clone()).prop_map(Task::List),
            3 => (0..4_u64, prop::option::of((1..4_u32, rule())), list(inner.clone()))
                .prop_map(|(items, width, body)| Task::For { items, width, body }),
            3 => (rule(), prop::collection::vec(list(inner.clone()), 1..4)).prop_map(fork),
            4 => (list(inner.clone()), 1..4_u32, prop::option::of(Just(503_u16)), prop::option::of(list(inner)))
                .prop_map(|(body, attempts, status, handler)| Task::Try { body, attempts, status, handler }),
        ]
    })
    .boxed()
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        4 => Just(Rule::All),
        2 => Just(Rule::Settled),
        1 => Just(Rule::First),
        2 => Just(Rule::Compete),
        2 => Just(Rule::Any),
        2 => (1..4_u32).prop_map(Rule::Count),
    ]
}

/// No fork waits for more branches than it has, and no loop competes by that name.
fn fork((rule, branches): (Rule, Vec<Vec<Task>>)) -> Task {
    let rule = match rule {
        Rule::Count(n) => Rule::Count(n.min(u32::try_from(branches.len()).unwrap_or(n))),
        Rule::All | Rule::Settled | Rule::First | Rule::Compete | Rule::Any => rule,
    };
    Task::Fork { rule, branches }
}

fn list(task: impl Strategy<Value = Task> + 'static) -> BoxedStrategy<Vec<Task>> {
    prop::collection::vec(task, 1..4).boxed()
}

fn number(tasks: &mut [Task], last: &mut u64) {
    for task in tasks {
        match task {
            Task::Step(n) => {
                *last += 1;
                *n = *last;
            }
            Task::Set(_) | Task::Switch(_) | Task::Raise(_) => {}
            Task::List(tasks) | Task::For { body: tasks, .. } => number(tasks, last),
            Task::Fork { branches, .. } => branches.iter_mut().for_each(|tasks| number(tasks, last)),
            Task::Try { body, handler, .. } => {
                number(body, last);
                handler.iter_mut().for_each(|tasks| number(tasks, last));
            }
        }
    }
}
