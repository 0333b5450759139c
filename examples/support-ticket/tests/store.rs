//! The shop's store: what is done with a key is done once, in memory and in a file, and survives a restart of both
//! the process and the step.

#![allow(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use stepmill_example_support_ticket::store::{OrderStatus, RequestKind};
use stepmill_example_support_ticket::tool::{self, Act, Asked, Done, Outcome};
use stepmill_example_support_ticket::{ORDERS, Store, order_id};

fn asked(text: &str) -> Asked {
    Asked { ticket: "t".into(), text: text.into() }
}

fn cancel(store: &Store, key: &str, text: &str) -> Done {
    store.once(key, |shop| tool::cancel_order(shop, &asked(text))).unwrap()
}

fn seeded() -> Store {
    let store = Store::in_memory().unwrap();
    store.seed(ORDERS).unwrap();
    store
}

#[test]
fn a_key_acts_once_and_answers_the_same_each_time() {
    let store = seeded();
    let first = cancel(&store, "run:/do/1:1", "cancel #W1000002");
    assert_eq!(first.outcome, Outcome::Opened);
    // A second attempt under the same key must not see the order that the first one has cancelled.
    assert_eq!(cancel(&store, "run:/do/1:1", "cancel #W1000002"), first);
    assert_eq!(store.requests().unwrap().len(), 1);
    // Another key is another act: it meets the cancelled order.
    assert_eq!(cancel(&store, "run:/do/1:2", "cancel #W1000002").outcome, Outcome::NotPossible);
    assert_eq!(store.requests().unwrap().len(), 1);
}

#[test]
fn attempts_at_the_same_time_act_once() {
    let store = seeded();
    let answers: Vec<Done> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..8).map(|_| s.spawn(|| cancel(&store, "key", "cancel #W1000002"))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|a| a == &answers[0]));
    assert_eq!(store.requests().unwrap().len(), 1);
}

#[test]
fn an_act_that_fails_leaves_nothing_behind() {
    let store = seeded();
    let failed = store.once("key", |shop| {
        shop.reply("t", "half done")?;
        shop.request(RequestKind::Case, "t", None)?;
        Err::<u64, _>(stepmill_example_support_ticket::StoreError { doing: "go on", reason: "test".into() })
    });
    assert!(failed.is_err());
    assert_eq!((store.outbox().unwrap().len(), store.requests().unwrap().len()), (0, 0));
    assert_eq!(store.once("key", |shop| shop.reply("t", "whole")).unwrap(), 1);
}

#[test]
fn a_file_remembers_what_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.redb");
    let first = {
        let store = Store::open(&path).unwrap();
        store.seed(ORDERS).unwrap();
        cancel(&store, "key", "cancel #W1000002")
    };
    let store = Store::open(&path).unwrap();
    assert_eq!(store.seed(ORDERS).unwrap(), 0, "the orders are there, cancelled ones included");
    assert_eq!(store.order("#W1000002").unwrap().unwrap().status, OrderStatus::Cancelled);
    assert_eq!(cancel(&store, "key", "cancel #W1000002"), first);
    assert!(Store::open(&path).is_err(), "a second process must not write the same file");
}

#[test]
fn tools_have_an_answer_for_every_order() {
    let store = seeded();
    let mut key = 0;
    let mut run = |act: Act, text: &str| -> Outcome {
        key += 1;
        let done: Done = store.once(&key.to_string(), |shop| act(shop, &asked(text))).unwrap();
        assert!(done.facts.ends_with('.'), "{}", done.facts);
        done.outcome
    };
    assert_eq!(run(tool::start_return, "I want my money back"), Outcome::AskedForOrder);
    assert_eq!(run(tool::start_return, "return #W7654321"), Outcome::UnknownOrder);
    assert_eq!(run(tool::start_return, "return #W1000001"), Outcome::Opened);
    assert_eq!(run(tool::start_return, "return #W1000004"), Outcome::NotPossible);
    assert_eq!(run(tool::start_exchange, "exchange W1000006"), Outcome::Opened);
    assert_eq!(run(tool::start_exchange, "exchange #W1000002"), Outcome::NotPossible);
    assert_eq!(run(tool::cancel_order, "cancel #W1000004"), Outcome::NotPossible);
    assert_eq!(run(tool::modify_order, "change #W1000005"), Outcome::Opened);
    assert_eq!(run(tool::modify_order, "change #W1000007"), Outcome::NotPossible);
    assert_eq!(run(tool::look_up, "where is #W1000004?"), Outcome::Found);
    assert_eq!(run(tool::open_case, "return this, cancel that"), Outcome::Opened);
    assert_eq!(run(tool::hand_over, "a person please"), Outcome::Opened);
    let numbers: Vec<u64> = store.requests().unwrap().iter().map(|r| r.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn order_numbers_are_found_as_people_write_them() {
    let found = |text: &str| order_id(text);
    assert_eq!(found("order #W1234567, please"), Some("#W1234567".into()));
    assert_eq!(found("w1234567 and #W7654321"), Some("#W1234567".into()));
    for none in ["", "no order", "W123456", "W12345678", "1234567", "#W12345a7", "ÄW1234567x"] {
        assert_eq!(found(none), None, "{none:?}");
    }
}
