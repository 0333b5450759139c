//! The shop's own data: orders, the requests that customers made about them, and the replies that went out. One redb
//! database, in a file or in memory. Every write carries the step's idempotency key and happens once per key.

use std::path::Path;
use std::sync::Arc;

use redb::backends::InMemoryBackend;
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Order id to [`Order`].
const ORDERS: TableDefinition<'_, &str, &str> = TableDefinition::new("orders");
/// Number of the request to [`Request`].
const REQUESTS: TableDefinition<'_, u64, &str> = TableDefinition::new("requests");
/// Number of the message to [`Reply`].
const OUTBOX: TableDefinition<'_, u64, &str> = TableDefinition::new("outbox");
/// Idempotency key to the answer that was given for it.
const ANSWERS: TableDefinition<'_, &str, &str> = TableDefinition::new("answers");

/// An order of a customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// For instance `#W1000001`.
    pub id: String,
    /// How far it is.
    pub status: OrderStatus,
    /// What was ordered.
    pub items: Vec<String>,
    /// What it cost, in cents.
    pub total_cents: u64,
}

/// How far an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Not yet sent: it can be changed and cancelled.
    Pending,
    /// On its way: nothing can be done until it arrives.
    Shipped,
    /// At the customer's: it can be returned and exchanged.
    Delivered,
    /// Called off.
    Cancelled,
}

/// What a customer asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Its number, from 1.
    pub number: u64,
    /// What kind it is.
    pub kind: RequestKind,
    /// The ticket that it came with.
    pub ticket: String,
    /// The order it is about, where the ticket named one.
    pub order: Option<String>,
}

/// The kinds of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Another item for one that came.
    Exchange,
    /// Money for an item that came.
    Return,
    /// An order called off.
    Cancel,
    /// An order changed before it is sent.
    Modify,
    /// Several wishes in one ticket, for the back office.
    Case,
    /// A person must answer.
    HandOver,
}

/// A message to a customer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Its number, from 1.
    pub number: u64,
    /// The ticket that it answers.
    pub ticket: String,
    /// What it says.
    pub text: String,
}

/// The store could not do what it was asked. The disk may be full, or the file may be in use: trying again can help.
#[derive(Debug, thiserror::Error)]
#[error("the shop's store cannot {doing}: {reason}")]
pub struct StoreError {
    /// What was being done.
    pub doing: &'static str,
    /// The reason in the database's words.
    pub reason: String,
}

fn cannot<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> StoreError {
    move |e| StoreError { doing, reason: e.to_string() }
}

/// The store. Cheap to clone; all clones are one store.
#[derive(Clone, Debug)]
pub struct Store {
    db: Arc<Database>,
}

impl Store {
    /// A store that is gone with the process.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be made.
    pub fn in_memory() -> Result<Self, StoreError> {
        let db = Database::builder().create_with_backend(InMemoryBackend::new()).map_err(cannot("be made"))?;
        Self::prepare(db)
    }

    /// A store in a file, which is made where it is missing. One process at a time can have it open.
    ///
    /// # Errors
    /// [`StoreError`] when the file is no store, cannot be written, or another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::prepare(Database::create(path).map_err(cannot("be opened"))?)
    }

    fn prepare(db: Database) -> Result<Self, StoreError> {
        let store = Self { db: Arc::new(db) };
        store.write(|_| Ok(()))?;
        Ok(store)
    }

    /// Adds those of `orders` (JSON lines) that the store does not know, and says how many it added.
    ///
    /// # Errors
    /// [`StoreError`] when a line is no order or the store cannot be written; then none is added.
    pub fn seed(&self, orders: &str) -> Result<usize, StoreError> {
        self.write(|shop| {
            let mut added = 0;
            for line in orders.lines().filter(|l| !l.trim().is_empty()) {
                let order: Order = read(line)?;
                if shop.order(&order.id)?.is_none() {
                    shop.put_order(&order)?;
                    added += 1;
                }
            }
            Ok(added)
        })
    }

    /// Does `act` once per key: the first call does it and keeps its answer in the same transaction, each later call
    /// with this key gets that answer and changes nothing. A crash leaves either both or neither.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; then nothing was changed.
    pub fn once<T, F>(&self, key: &str, act: F) -> Result<T, StoreError>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(&mut Shop<'_>) -> Result<T, StoreError>,
    {
        self.write(|shop| {
            let known = shop.answers.get(key).map_err(cannot("be read"))?.map(|v| read::<T>(v.value()));
            if let Some(answer) = known {
                return answer;
            }
            let answer = act(shop)?;
            shop.answers.insert(key, text(&answer)?.as_str()).map_err(cannot("be written"))?;
            Ok(answer)
        })
    }

    /// One order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read; so for every reading method.
    pub fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        let txn = self.db.begin_read().map_err(cannot("be read"))?;
        let orders = txn.open_table(ORDERS).map_err(cannot("be read"))?;
        let found = orders.get(id).map_err(cannot("be read"))?;
        found.map(|v| read(v.value())).transpose()
    }

    /// All requests, oldest first.
    ///
    /// # Errors
    /// See [`Store::order`].
    pub fn requests(&self) -> Result<Vec<Request>, StoreError> {
        self.all(REQUESTS)
    }

    /// All replies, oldest first.
    ///
    /// # Errors
    /// See [`Store::order`].
    pub fn outbox(&self) -> Result<Vec<Reply>, StoreError> {
        self.all(OUTBOX)
    }

    fn all<T: DeserializeOwned>(&self, table: TableDefinition<'_, u64, &str>) -> Result<Vec<T>, StoreError> {
        let txn = self.db.begin_read().map_err(cannot("be read"))?;
        let table = txn.open_table(table).map_err(cannot("be read"))?;
        let rows = table.iter().map_err(cannot("be read"))?;
        rows.map(|row| read(row.map_err(cannot("be read"))?.1.value())).collect()
    }

    fn write<T>(&self, act: impl FnOnce(&mut Shop<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let txn = self.db.begin_write().map_err(cannot("be written"))?;
        // An error leaves this block before the commit; the transaction is then dropped and nothing of it stays.
        let answer = {
            let mut shop = Shop {
                orders: txn.open_table(ORDERS).map_err(cannot("be written"))?,
                requests: txn.open_table(REQUESTS).map_err(cannot("be written"))?,
                outbox: txn.open_table(OUTBOX).map_err(cannot("be written"))?,
                answers: txn.open_table(ANSWERS).map_err(cannot("be written"))?,
            };
            act(&mut shop)?
        };
        txn.commit().map_err(cannot("be written"))?;
        Ok(answer)
    }
}

/// The store inside one transaction.
#[derive(Debug)]
pub struct Shop<'t> {
    orders: Table<'t, &'static str, &'static str>,
    requests: Table<'t, u64, &'static str>,
    outbox: Table<'t, u64, &'static str>,
    answers: Table<'t, &'static str, &'static str>,
}

impl Shop<'_> {
    /// One order.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or written; so for every method.
    pub fn order(&self, id: &str) -> Result<Option<Order>, StoreError> {
        let found = self.orders.get(id).map_err(cannot("be read"))?;
        found.map(|v| read(v.value())).transpose()
    }

    /// Writes an order.
    ///
    /// # Errors
    /// See [`Shop::order`].
    pub fn put_order(&mut self, order: &Order) -> Result<(), StoreError> {
        self.orders.insert(order.id.as_str(), text(order)?.as_str()).map_err(cannot("be written"))?;
        Ok(())
    }

    /// Notes a request and gives its number.
    ///
    /// # Errors
    /// See [`Shop::order`].
    pub fn request(&mut self, kind: RequestKind, ticket: &str, order: Option<&str>) -> Result<u64, StoreError> {
        let number = next(&self.requests)?;
        let request = Request { number, kind, ticket: ticket.into(), order: order.map(Into::into) };
        self.requests.insert(number, text(&request)?.as_str()).map_err(cannot("be written"))?;
        Ok(number)
    }

    /// Puts a reply into the outbox and gives its number.
    ///
    /// # Errors
    /// See [`Shop::order`].
    pub fn reply(&mut self, ticket: &str, words: &str) -> Result<u64, StoreError> {
        let number = next(&self.outbox)?;
        let reply = Reply { number, ticket: ticket.into(), text: words.into() };
        self.outbox.insert(number, text(&reply)?.as_str()).map_err(cannot("be written"))?;
        Ok(number)
    }
}

fn next(table: &Table<'_, u64, &'static str>) -> Result<u64, StoreError> {
    let last = table.last().map_err(cannot("be read"))?;
    Ok(last.map_or(0, |(number, _)| number.value()) + 1)
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(cannot("understand a record"))
}

fn text<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(cannot("write a record"))
}
