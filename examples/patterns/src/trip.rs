//! A travel agency: bookings and charges, each made once per idempotency key and undone by its number.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use stepmill_worker::{Context, Failure};

/// No card has more than this.
const CARD_LIMIT: f64 = 1_000.0;

/// What the agency has: by number, what was booked or charged, and whether it still stands.
#[derive(Clone, Debug, Default)]
pub struct Agency {
    books: Arc<Mutex<BTreeMap<String, bool>>>,
}

impl Agency {
    /// One entry per idempotency key: the number is made of it, so a repeated attempt gets the same one.
    fn enter(&self, prefix: &str, key: &str) -> String {
        let number = format!("{prefix}-{key}");
        self.books.lock().entry(number.clone()).or_insert(true);
        number
    }

    /// Undoing twice is undoing once.
    fn undo(&self, number: &str) -> Result<(), Failure> {
        match self.books.lock().get_mut(number) {
            Some(stands) => {
                *stands = false;
                Ok(())
            }
            None => Err(Failure::terminal(format!("there is no `{number}` to undo"))),
        }
    }
}

/// What to book.
#[derive(Debug, Deserialize)]
pub struct Wish {
    what: String,
    trip: String,
}

/// A booking.
#[derive(Debug, Serialize, Deserialize)]
pub struct Booked {
    booking: String,
}

/// Books a flight or a room. Nowhere is fully booked but Atlantis.
///
/// # Errors
/// [`Failure`] when there is nothing to be had.
pub async fn book(agency: Agency, ctx: Context, wish: Wish) -> Result<Booked, Failure> {
    if wish.trip == "Atlantis" && wish.what == "room" {
        return Err(Failure::terminal("there is no room in Atlantis"));
    }
    Ok(Booked { booking: agency.enter(&wish.what, ctx.idempotency_key()) })
}

/// Calls a booking off.
///
/// # Errors
/// [`Failure`] when there is no such booking.
pub async fn cancel(agency: Agency, _: Context, what: Booked) -> Result<(), Failure> {
    agency.undo(&what.booking)
}

/// How much to take.
#[derive(Debug, Deserialize)]
pub struct Amount {
    amount: f64,
}

/// A charge.
#[derive(Debug, Serialize, Deserialize)]
pub struct Charged {
    charge: String,
}

/// Charges the card.
///
/// # Errors
/// [`Failure`] when the card does not have so much.
pub async fn charge(agency: Agency, ctx: Context, amount: Amount) -> Result<Charged, Failure> {
    if amount.amount > CARD_LIMIT {
        return Err(Failure::terminal(format!("the card has no {}", amount.amount)));
    }
    Ok(Charged { charge: agency.enter("charge", ctx.idempotency_key()) })
}

/// Pays a charge back.
///
/// # Errors
/// [`Failure`] when there is no such charge.
pub async fn pay_back(agency: Agency, _: Context, what: Charged) -> Result<(), Failure> {
    agency.undo(&what.charge)
}

/// What is confirmed to the customer.
#[derive(Debug, Deserialize)]
pub struct Trip {
    flight: String,
    room: String,
    charge: String,
}

/// Confirms a trip.
///
/// # Errors
/// [`Failure`] when a part is missing.
pub async fn confirm(_: Context, trip: Trip) -> Result<(), Failure> {
    if [&trip.flight, &trip.room, &trip.charge].iter().any(|part| part.is_empty()) {
        return Err(Failure::terminal("a part of the trip has no number"));
    }
    Ok(())
}
