//! Where everything goes: lists run downwards, tasks that hold others are frames around them, branches stand side by side. What
//! does not lead to the next task runs beside the list: forward on the right, back on the left.

use super::label;
use super::marks::{Marks, State};
use super::shape::{Anchor, Block, Item, Meaning, Point};
use super::way::{Target, Way, ways};
use crate::check::flow::Flow;
use crate::plan::{Catch, Node, NodeId, NodeKind, Plan};

/// Between two tasks of a list.
const GAP: i32 = 34;
/// Between branches, and between a `try` and its `catch`.
const ASIDE: i32 = 28;
/// From the border of a frame to what is inside.
const PADDING: i32 = 16;
/// Between two lines that run beside a list.
const LANE: i32 = 12;
/// Height of the first line of a text, and of those below.
pub(super) const LINE: Point = (18, 15);
/// The radius of the dots where a run begins and ends, and where a list ends.
const DOTS: Point = (9, 5);

/// How wide a text will be.
pub(super) fn width(text: &str, first: bool) -> i32 {
    let per_char = if first { 80 } else { 66 };
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX / 100) * per_char / 10
}

fn widest(lines: &[String]) -> i32 {
    lines.iter().enumerate().map(|(i, line)| width(line, i == 0)).max().unwrap_or(0)
}

fn height(lines: &[String]) -> i32 {
    LINE.0 + LINE.1 * i32::try_from(lines.len().saturating_sub(1)).unwrap_or(0)
}

/// The whole picture of a plan.
pub(super) fn picture(plan: &Plan, marks: &Marks) -> Block {
    let layout = Layout { plan, flow: Flow::of(plan), marks };
    match &plan.node(plan.root).kind {
        NodeKind::Do { children } => {
            let list = layout.list(children, true);
            let top = 2 * DOTS.0 + GAP;
            let mut whole = Block { width: list.width, height: top + list.height, axis: list.axis, items: Vec::new() };
            whole.items.push(Item::Dot { at: (list.axis, DOTS.0), radius: DOTS.0, filled: false });
            whole.line(vec![(list.axis, 2 * DOTS.0), (list.axis, top)], Meaning::Next, true);
            whole.put(list, (0, top));
            whole
        }
        NodeKind::Set { .. }
        | NodeKind::Switch { .. }
        | NodeKind::For { .. }
        | NodeKind::Fork { .. }
        | NodeKind::Try { .. }
        | NodeKind::Raise { .. }
        | NodeKind::Wait { .. }
        | NodeKind::Scope { .. }
        | NodeKind::Listen(_)
        | NodeKind::Call(_) => layout.task(plan.node(plan.root), 0),
    }
}

struct Layout<'p> {
    plan: &'p Plan,
    flow: Flow<'p>,
    marks: &'p Marks,
}

/// A task of a list in its place: its borders.
#[derive(Clone, Copy)]
struct Placed {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl Placed {
    /// Where the `i`th of `n` arrows leaves.
    fn exit(&self, i: usize, n: usize) -> i32 {
        let part = |k: usize| i32::try_from(k).unwrap_or(1);
        self.top + (self.bottom - self.top) * (part(i) + 1) / (part(n) + 1)
    }

    /// Where arrows from beside come in.
    const fn entry(&self) -> i32 {
        self.top + 9
    }
}

impl Layout<'_> {
    /// `aside`: how many arrows leave beside the task.
    fn task(&self, node: &Node, aside: usize) -> Block {
        match &node.kind {
            NodeKind::Do { children } => self.frame(node, self.list(children, false)),
            NodeKind::For { body, .. } => self.frame(node, self.block(*body)),
            NodeKind::Scope { body, .. } => self.frame(node, self.task(self.plan.node(*body), 0)),
            NodeKind::Fork { branches, .. } => self.frame(node, self.fork(branches)),
            NodeKind::Try { body, catch } => self.frame(node, self.tries(*body, catch)),
            NodeKind::Listen(listen) if listen.body().is_some() => {
                let body = listen.body().map(|body| self.block(body)).unwrap_or_default();
                self.frame(node, body)
            }
            NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => {
                let lines = self.lines(node);
                let room = LINE.0 * i32::try_from(aside).unwrap_or(0) + 8;
                let size = ((widest(&lines) + 2 * PADDING).max(140), (height(&lines) + 14).max(room));
                let items = vec![Item::Task { at: (0, 0), size, node: node.id, lines }];
                Block { width: size.0, height: size.1, axis: size.0 / 2, items }
            }
        }
    }

    fn lines(&self, node: &Node) -> Vec<String> {
        let mut lines = vec![label::name(node)];
        lines.extend(Some(label::what(node)).filter(|what| !what.is_empty()));
        lines.extend(label::condition(node));
        lines.extend(self.marks.get(&node.path.0).map(|mark| {
            let mut text = match mark.state {
                State::Done => "done",
                State::Failed => "failed",
                State::Waiting => "waiting",
                State::Active => "under way",
            }
            .to_owned();
            if mark.times > 1 || (mark.times > 0 && mark.state != State::Done) {
                text += &format!(", done {} times", mark.times);
            }
            if mark.failures > 0 {
                text += &format!(", {} failed attempt{}", mark.failures, if mark.failures == 1 { "" } else { "s" });
            }
            text
        }));
        lines
    }

    /// The list that is a part of a task.
    fn block(&self, id: NodeId) -> Block {
        let node = self.plan.node(id);
        match &node.kind {
            NodeKind::Do { children } => self.list(children, false),
            NodeKind::Set { .. }
            | NodeKind::Switch { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Raise { .. }
            | NodeKind::Wait { .. }
            | NodeKind::Scope { .. }
            | NodeKind::Listen(_)
            | NodeKind::Call(_) => self.task(node, 0),
        }
    }

    fn frame(&self, node: &Node, inner: Block) -> Block {
        framed(Some(node.id), self.lines(node), inner, false)
    }

    fn fork(&self, branches: &[NodeId]) -> Block {
        let mut all = Block::default();
        let mut axes = Vec::new();
        let blocks: Vec<Block> = branches.iter().map(|id| self.task(self.plan.node(*id), 0)).collect();
        let tallest = blocks.iter().map(|b| b.height).max().unwrap_or(0);
        let mut x = 0;
        for block in blocks {
            let axis = x + block.axis;
            axes.push(axis);
            all.line(vec![(axis, 0), (axis, GAP / 2 + 4)], Meaning::Next, true);
            all.line(vec![(axis, GAP / 2 + 4 + block.height), (axis, GAP + 4 + tallest)], Meaning::Next, false);
            let next = x + block.width + ASIDE;
            all.put(block, (x, GAP / 2 + 4));
            x = next;
        }
        all.width = (x - ASIDE).max(0);
        all.height = GAP + 4 + tallest;
        if let (Some(first), Some(last)) = (axes.first(), axes.last()) {
            all.line(vec![(*first, 0), (*last, 0)], Meaning::Next, false);
            all.line(vec![(*first, all.height), (*last, all.height)], Meaning::Next, false);
            all.axis = (first + last) / 2;
        }
        all
    }

    fn tries(&self, body: NodeId, catch: &Catch) -> Block {
        let body = framed(None, Vec::new(), self.block(body), false);
        let inner = catch.body.map_or_else(Block::default, |id| self.block(id));
        let catch = framed(None, vec![label::caught(catch)], inner, true);
        let left = body.width + 2 * ASIDE;
        let mut all = Block {
            width: left + catch.width,
            height: body.height.max(catch.height),
            axis: body.axis,
            items: Vec::new(),
        };
        let y = body.height.min(catch.height).min(40) / 2;
        all.line(vec![(body.width, y), (left, y)], Meaning::Error, true);
        all.items.push(Item::Words { at: (body.width + 10, y - 5), anchor: Anchor::Start, text: "error".into() });
        all.put(body, (0, 0));
        all.put(catch, (left, 0));
        all
    }

    /// A list of tasks; `whole`: the workflow's own.
    fn list(&self, children: &[NodeId], whole: bool) -> Block {
        let all = ways(self.plan, &self.flow, children);
        let beside = |way: &&Way| way.to != Target::Task(way.from + 1);
        let blocks: Vec<Block> = children
            .iter()
            .enumerate()
            .map(|(i, id)| {
                let aside = all.iter().filter(beside).filter(|w| w.from == i).count();
                self.task(self.plan.node(*id), aside)
            })
            .collect();
        let left = blocks.iter().map(|b| b.axis).max().unwrap_or(DOTS.0);
        let right = blocks.iter().map(|b| b.width - b.axis).max().unwrap_or(DOTS.0);
        let mut y = 0;
        let mut placed = Vec::new();
        for block in &blocks {
            placed.push(Placed {
                left: -block.axis,
                right: block.width - block.axis,
                top: y,
                bottom: y + block.height,
            });
            y += block.height + GAP;
        }
        let mut list = Beside { own: Block::default(), left, right, placed, end: y };
        let last = children.len();
        let is_end_drawn =
            whole || children.is_empty() || all.iter().filter(beside).any(|w| w.to == Target::Task(last));
        for way in all.iter().filter(|w| !beside(w)) {
            list.down(way, is_end_drawn);
        }
        let radius = if whole { DOTS.0 } else { DOTS.1 };
        let jumps: Vec<&Way> = all.iter().filter(beside).collect();
        list.forward(&jumps, radius);
        list.back(&jumps);
        let height = if is_end_drawn {
            list.own.items.push(Item::Dot { at: (0, y + radius), radius, filled: whole });
            y + 2 * radius
        } else {
            y - GAP
        };
        let mut block = Block { width: list.left + list.right, height, axis: list.left, items: Vec::new() };
        for (one, place) in blocks.into_iter().zip(&list.placed) {
            block.put(one, (list.left + place.left, place.top));
        }
        block.put(list.own, (list.left, 0));
        block
    }
}

/// What runs beside a list, around its axis: x is 0 there.
struct Beside {
    own: Block,
    /// How far it goes to both sides.
    left: i32,
    right: i32,
    placed: Vec<Placed>,
    /// Where the dot at its end begins.
    end: i32,
}

impl Beside {
    /// To the next task, or from the last one to the end.
    fn down(&mut self, way: &Way, is_end_drawn: bool) {
        let Some(from) = self.placed.get(way.from).copied() else { return };
        let to = match self.placed.get(way.from + 1) {
            Some(next) => next.top,
            None if is_end_drawn => self.end,
            None => return,
        };
        self.own.line(vec![(0, from.bottom), (0, to)], Meaning::Next, true);
        if let Some(when) = &way.when {
            let at = (8, from.bottom + GAP / 2 + 2);
            self.own.items.push(Item::Words { at, anchor: Anchor::Start, text: label::cut(when, 40) });
        }
    }

    /// Which of the arrows beside a task this is, and of how many.
    fn turn(&self, jumps: &[&Way], way: &Way) -> (usize, usize) {
        let same: Vec<&&Way> = jumps.iter().filter(|w| w.from == way.from && is_back(w) == is_back(way)).collect();
        (same.iter().position(|w| w.to == way.to).unwrap_or(0), same.len())
    }

    /// Arrows over tasks, and to the end of the run, on the right. Those that lead to the same task share their last part.
    fn forward(&mut self, jumps: &[&Way], radius: i32) {
        let forward: Vec<&Way> = jumps.iter().filter(|w| !is_back(w)).copied().collect();
        let words = |way: &Way| way.when.as_ref().map_or(0, |when| width(&label::cut(when, 40), false) + 16);
        let begin = forward
            .iter()
            .filter_map(|way| Some(self.placed.get(way.from)?.right + words(way) + 14))
            .fold(self.right + 14, i32::max);
        let mut lanes = Lanes::default();
        let mut most = self.right;
        for target in targets(&forward) {
            let group: Vec<&Way> = forward.iter().filter(|w| w.to == target).copied().collect();
            let exits: Vec<(i32, i32, &Way)> = group
                .iter()
                .filter_map(|way| {
                    let (i, n) = self.turn(jumps, way);
                    let from = self.placed.get(way.from)?;
                    Some((from.right, from.exit(i, n), *way))
                })
                .collect();
            let (entry, edge) = match target {
                Target::Task(i) => match self.placed.get(i) {
                    Some(to) => (to.entry(), to.right),
                    None => (self.end + radius, radius),
                },
                Target::End => {
                    for (x, y, way) in exits {
                        let to = x + words(way).max(10) + 14;
                        self.words((x + 8, y - 4), Anchor::Start, way);
                        self.own.line(vec![(x, y), (to, y)], Meaning::Next, true);
                        self.own.items.push(Item::Dot { at: (to + DOTS.1, y), radius: DOTS.1, filled: true });
                        most = most.max(to + 2 * DOTS.1);
                    }
                    continue;
                }
            };
            let Some(top) = exits.iter().map(|e| e.1).min() else { continue };
            let lane = begin + LANE * lanes.take(top, entry);
            most = most.max(lane);
            for (i, (x, y, way)) in exits.iter().enumerate() {
                self.words((x + 8, y - 4), Anchor::Start, way);
                let mut points = vec![(*x, *y), (lane, *y)];
                // one of them draws the part that they share
                if i == 0 {
                    points.extend([(lane, entry), (edge, entry)]);
                } else {
                    points.push((lane, entry));
                }
                self.own.line(points, Meaning::Next, i == 0);
            }
        }
        self.right = most + if most > self.right { 6 } else { 0 };
    }

    /// Arrows back to earlier tasks, on the left.
    fn back(&mut self, jumps: &[&Way]) {
        let back: Vec<&Way> = jumps.iter().filter(|w| is_back(w)).copied().collect();
        let words = |way: &Way| way.when.as_ref().map_or(0, |when| width(&label::cut(when, 40), false) + 16);
        let begin = back
            .iter()
            .filter_map(|way| Some(words(way) + 14 - self.placed.get(way.from)?.left))
            .fold(self.left + 14, i32::max);
        let mut lanes = Lanes::default();
        let mut most = self.left;
        for target in targets(&back) {
            let Target::Task(to) = target else { continue };
            let Some(to) = self.placed.get(to).copied() else { continue };
            let group: Vec<&Way> = back.iter().filter(|w| w.to == target).copied().collect();
            let bottom =
                group.iter().filter_map(|w| self.placed.get(w.from)).map(|p| p.bottom).max().unwrap_or(to.bottom);
            let lane = -begin - LANE * lanes.take(to.top, bottom);
            most = most.max(-lane);
            for way in group {
                let Some(from) = self.placed.get(way.from).copied() else { continue };
                let (i, n) = self.turn(jumps, way);
                let y = from.exit(i, n).max(if from.top == to.top { to.entry() + 10 } else { 0 });
                self.words((from.left - 8, y - 4), Anchor::End, way);
                let points = vec![(from.left, y), (lane, y), (lane, to.entry()), (to.left, to.entry())];
                self.own.line(points, Meaning::Back, true);
            }
        }
        self.left = most + if most > self.left { 6 } else { 0 };
    }

    fn words(&mut self, at: Point, anchor: Anchor, way: &Way) {
        if let Some(when) = &way.when {
            self.own.items.push(Item::Words { at, anchor, text: label::cut(when, 40) });
        }
    }
}

fn is_back(way: &Way) -> bool {
    match way.to {
        Target::Task(to) => to <= way.from,
        Target::End => false,
    }
}

/// Where arrows lead, the nearest first.
fn targets(ways: &[&Way]) -> Vec<Target> {
    let far = |way: &&&Way| match way.to {
        Target::Task(to) => to.abs_diff(way.from),
        Target::End => 0,
    };
    let mut sorted: Vec<&&Way> = ways.iter().collect();
    sorted.sort_by_key(far);
    let mut targets: Vec<Target> = Vec::new();
    for way in sorted {
        if !targets.contains(&way.to) {
            targets.push(way.to);
        }
    }
    targets
}

/// Which lines beside a list have room next to each other.
#[derive(Default)]
struct Lanes(Vec<Vec<(i32, i32)>>);

impl Lanes {
    /// The first lane in which nothing else runs from `top` to `bottom`.
    fn take(&mut self, top: i32, bottom: i32) -> i32 {
        let free = |lane: &Vec<(i32, i32)>| lane.iter().all(|(a, b)| bottom < *a || *b < top);
        let at = self.0.iter().position(free).unwrap_or(self.0.len());
        if at == self.0.len() {
            self.0.push(Vec::new());
        }
        if let Some(lane) = self.0.get_mut(at) {
            lane.push((top, bottom));
        }
        i32::try_from(at).unwrap_or(0)
    }
}

fn framed(node: Option<NodeId>, lines: Vec<String>, inner: Block, caught: bool) -> Block {
    let head = if lines.is_empty() { PADDING } else { height(&lines) + 20 };
    let words = widest(&lines);
    let shift = ((words - inner.width) / 2).max(0);
    let body = if inner.height == 0 { 0 } else { inner.height + PADDING };
    let size = (inner.width.max(words) + 2 * PADDING, head + body);
    let axis = PADDING + shift + inner.axis;
    let mut block = Block { width: size.0, height: size.1, axis, items: Vec::new() };
    block.items.push(Item::Frame { at: (0, 0), size, node, lines, caught });
    block.put(inner, (PADDING + shift, head));
    block
}
