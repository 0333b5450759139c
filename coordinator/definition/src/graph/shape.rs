//! The parts of a picture and their places, in pixels.

use crate::plan::NodeId;

/// A point: from the left, from the top.
pub(super) type Point = (i32, i32);

/// Where a text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    End,
}

/// What an arrow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The next task.
    Next,
    /// Back to an earlier one.
    Back,
    /// What happens after an error.
    Error,
}

/// A part of a picture.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// A task that holds no others.
    Task { at: Point, size: Point, node: NodeId, lines: Vec<String> },
    /// A task with others inside, or a part of one (`caught`: what a `catch` does).
    Frame { at: Point, size: Point, node: Option<NodeId>, lines: Vec<String>, caught: bool },
    /// A line through these points; `head`: it ends in an arrow.
    Line { points: Vec<Point>, meaning: Meaning, head: bool },
    /// Words beside an arrow.
    Words { at: Point, anchor: Anchor, text: String },
    /// Where a list or the run begins or ends.
    Dot { at: Point, radius: i32, filled: bool },
}

impl Item {
    fn move_by(&mut self, (dx, dy): Point) {
        let shift = |p: &mut Point| *p = (p.0 + dx, p.1 + dy);
        match self {
            Self::Task { at, .. } | Self::Frame { at, .. } | Self::Words { at, .. } | Self::Dot { at, .. } => shift(at),
            Self::Line { points, .. } => points.iter_mut().for_each(shift),
        }
    }
}

/// A part of a picture with all that is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) width: i32,
    pub(super) height: i32,
    /// Where tokens come in from above and go out below, from the left.
    pub(super) axis: i32,
    pub(super) items: Vec<Item>,
}

impl Block {
    /// Puts another block into this one.
    pub(super) fn put(&mut self, other: Self, by: Point) {
        self.items.extend(other.items.into_iter().map(|mut item| {
            item.move_by(by);
            item
        }));
    }

    pub(super) fn line(&mut self, points: Vec<Point>, meaning: Meaning, head: bool) {
        self.items.push(Item::Line { points, meaning, head });
    }
}
