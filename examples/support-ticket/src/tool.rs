//! The tools of the workflow: what the shop does about a ticket. Each is a plain function over one transaction of the
//! store; [`Tool`] makes a step of it that happens once per idempotency key.

use serde::{Deserialize, Serialize};
use stepmill_worker::{Context, Failure, Handler};

use crate::order_id;
use crate::store::{Order, OrderStatus, RequestKind, Shop, Store, StoreError};

/// What a tool works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The ticket's id.
    pub ticket: String,
    /// What the customer wrote.
    pub text: String,
}

/// What a tool did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// In one word.
    pub outcome: Outcome,
    /// In one sentence, in the words of the answer to the customer.
    pub facts: String,
    /// The order that it is about.
    pub order: Option<String>,
    /// The number of the request that was opened.
    pub request: Option<u64>,
}

/// How it went. None of these is an error: an order that nobody knows is an everyday thing in a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A request was opened.
    Opened,
    /// The question could be answered from the order.
    Found,
    /// The ticket names no order: the customer is asked for its number.
    AskedForOrder,
    /// The ticket names an order that the shop does not know: the customer is asked to check the number.
    UnknownOrder,
    /// The order is in a state in which this cannot be done.
    NotPossible,
}

/// What the shop does about a ticket, inside one transaction.
pub type Act = fn(&mut Shop<'_>, &Asked) -> Result<Done, StoreError>;

/// A step that does one act of the shop.
#[derive(Clone, Debug)]
pub struct Tool {
    store: Store,
    act: Act,
}

impl Tool {
    /// A step that does `act` in `store`.
    #[must_use]
    pub fn new(store: &Store, act: Act) -> Self {
        Self { store: store.clone(), act }
    }
}

impl Handler<Asked, Done> for Tool {
    async fn run(&self, ctx: Context, asked: Asked) -> Result<Done, Failure> {
        let (store, act) = (self.store.clone(), self.act);
        // The store waits for the disk, which must not hold up the worker's other tasks. An error of the store is
        // retryable: `?` makes it so.
        tokio::task::spawn_blocking(move || store.once(ctx.idempotency_key(), |shop| act(shop, &asked)))
            .await?
            .map_err(Into::into)
    }
}

/// `start-exchange`: another item for one that came.
///
/// # Errors
/// [`StoreError`] when the store cannot be read or written; so for every tool.
pub fn start_exchange(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    about_order(shop, asked, |shop, order| match order.status {
        OrderStatus::Delivered => {
            opened(shop, RequestKind::Exchange, asked, Some(&order), "We have opened an exchange")
        }
        OrderStatus::Pending | OrderStatus::Shipped => {
            Ok(not_possible(&order, "can be exchanged once it is delivered"))
        }
        OrderStatus::Cancelled => Ok(not_possible(&order, "was called off before")),
    })
}

/// `start-return`: money for an item that came.
///
/// # Errors
/// See [`start_exchange`].
pub fn start_return(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    about_order(shop, asked, |shop, order| match order.status {
        OrderStatus::Delivered => opened(shop, RequestKind::Return, asked, Some(&order), "We have opened a return"),
        OrderStatus::Pending | OrderStatus::Shipped => Ok(not_possible(&order, "can be returned once it is delivered")),
        OrderStatus::Cancelled => Ok(not_possible(&order, "was called off before")),
    })
}

/// `cancel-order`: calls an order off.
///
/// # Errors
/// See [`start_exchange`].
pub fn cancel_order(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    about_order(shop, asked, |shop, mut order| match order.status {
        OrderStatus::Pending => {
            order.status = OrderStatus::Cancelled;
            shop.put_order(&order)?;
            opened(
                shop,
                RequestKind::Cancel,
                asked,
                Some(&order),
                "We have cancelled your order and started the refund",
            )
        }
        OrderStatus::Shipped | OrderStatus::Delivered => Ok(not_possible(&order, "has left the warehouse")),
        OrderStatus::Cancelled => Ok(not_possible(&order, "was called off before")),
    })
}

/// `modify-order`: notes a change to an order that is not yet sent.
///
/// # Errors
/// See [`start_exchange`].
pub fn modify_order(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    about_order(shop, asked, |shop, order| match order.status {
        OrderStatus::Pending => opened(shop, RequestKind::Modify, asked, Some(&order), "We have noted the change"),
        OrderStatus::Shipped | OrderStatus::Delivered | OrderStatus::Cancelled => {
            Ok(not_possible(&order, "can no longer be changed"))
        }
    })
}

/// `look-up`: answers a question from the order.
///
/// # Errors
/// See [`start_exchange`].
pub fn look_up(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    about_order(shop, asked, |_, order| {
        let cents = order.total_cents;
        let facts = format!(
            "Order {} holds {}, cost {}.{:02} and is {}.",
            order.id,
            order.items.join(", "),
            cents / 100,
            cents % 100,
            words(order.status)
        );
        Ok(Done { outcome: Outcome::Found, facts, order: Some(order.id), request: None })
    })
}

/// `open-case`: several wishes at once go to the back office, which works through them in order.
///
/// # Errors
/// See [`start_exchange`].
pub fn open_case(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    opened(shop, RequestKind::Case, asked, None, "Our back office goes through everything that you ask for")
}

/// `hand-over`: a person takes the ticket.
///
/// # Errors
/// See [`start_exchange`].
pub fn hand_over(shop: &mut Shop<'_>, asked: &Asked) -> Result<Done, StoreError> {
    opened(shop, RequestKind::HandOver, asked, None, "A colleague takes over and answers within a working day")
}

/// Finds the order that the ticket names, or says why there is none.
fn about_order(
    shop: &mut Shop<'_>,
    asked: &Asked,
    act: impl FnOnce(&mut Shop<'_>, Order) -> Result<Done, StoreError>,
) -> Result<Done, StoreError> {
    let Some(id) = order_id(&asked.text) else {
        let facts = "Please tell us the number of your order, #W and seven digits; your message names none.".into();
        return Ok(Done { outcome: Outcome::AskedForOrder, facts, order: None, request: None });
    };
    match shop.order(&id)? {
        Some(order) => act(shop, order),
        None => {
            let facts = format!("We do not know an order {id}; please check its number.");
            Ok(Done { outcome: Outcome::UnknownOrder, facts, order: Some(id), request: None })
        }
    }
}

fn opened(
    shop: &mut Shop<'_>,
    kind: RequestKind,
    asked: &Asked,
    order: Option<&Order>,
    what: &str,
) -> Result<Done, StoreError> {
    let order = order.map(|o| o.id.clone());
    let number = shop.request(kind, &asked.ticket, order.as_deref())?;
    let about = order.as_deref().map(|id| format!("order {id}, ")).unwrap_or_default();
    let facts = format!("{what} ({about}request {number}).");
    Ok(Done { outcome: Outcome::Opened, facts, order, request: Some(number) })
}

fn not_possible(order: &Order, why: &str) -> Done {
    let facts = format!("Order {} {why}; it is {}.", order.id, words(order.status));
    Done { outcome: Outcome::NotPossible, facts, order: Some(order.id.clone()), request: None }
}

fn words(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "not yet sent",
        OrderStatus::Shipped => "on its way",
        OrderStatus::Delivered => "delivered",
        OrderStatus::Cancelled => "cancelled",
    }
}
