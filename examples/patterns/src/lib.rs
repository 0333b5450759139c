//! The steps that the patterns call, as a user would write them: a travel agency ([`trip`]), a shelf of documents
//! ([`shelf`]) and a help desk ([`desk`]). All of it is in memory; what matters is how effects are tied to the idempotency key.

#![allow(clippy::unused_async, reason = "a handler is async, also where a toy has nothing to wait for")]

pub mod desk;
pub mod shelf;
pub mod trip;

use stepmill_worker::WorkerBuilder;

/// The pool of these steps.
pub const POOL: &str = "patterns";
/// The rules of the scripted model that stands in for a language model.
pub const MODEL_RULES: &str = include_str!("../model.yaml");

/// Adds the steps to a worker and puts it into their pool.
pub fn steps(worker: WorkerBuilder) -> WorkerBuilder {
    let agency = trip::Agency::default();
    let shelf = shelf::Shelf::default();
    let (book, undo, charge, pay_back) = (agency.clone(), agency.clone(), agency.clone(), agency);
    let (read, file, find) = (shelf.clone(), shelf.clone(), shelf);
    worker
        .pool(POOL)
        .step("book", move |ctx, wish| trip::book(book.clone(), ctx, wish))
        .step("cancel-booking", move |ctx, what| trip::cancel(undo.clone(), ctx, what))
        .step("charge", move |ctx, amount| trip::charge(charge.clone(), ctx, amount))
        .step("pay-back", move |ctx, what| trip::pay_back(pay_back.clone(), ctx, what))
        .step("confirm", trip::confirm)
        .step("read-document", move |ctx, name| shelf::read(read.clone(), ctx, name))
        .step("file-summary", move |ctx, summary| shelf::file(file.clone(), ctx, summary))
        .step("find-passages", move |ctx, question| shelf::find(find.clone(), ctx, question))
        .step("open-refund", desk::open_refund)
        .step("hand-over", desk::hand_over)
}
