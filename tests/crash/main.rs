//! Everything is killed at random moments while runs are under way; afterwards every accepted run must have ended right, and no
//! step whose report was stored may have run again.

mod check;
mod embedded;
mod load;
mod rounds;
mod takeover;
