//! A picture as an SVG document.

use std::fmt::Write as _;

use super::layout::{LINE, picture, width};
use super::marks::{Marks, State};
use super::shape::{Anchor, Item, Meaning, Point};
use crate::plan::{Node, NodeKind, Plan};

/// Around the picture.
const MARGIN: i32 = 24;

const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#475569}\
.name{font-size:13px;font-weight:600;fill:#0f172a}\
.head{font-size:16px;font-weight:600;fill:#0f172a}\
.words{font-size:11px;fill:#64748b}\
.box{fill:#fff;stroke:#94a3b8;stroke-width:1.2}\
.frame{fill:#f8fafc;stroke:#cbd5e1;stroke-width:1.2}\
.part{fill:#fff;fill-opacity:.6;stroke:#e2e8f0}\
.caught{fill:#fff7f7;stroke:#f0a5a5;stroke-dasharray:5 4}\
.call{stroke:#6366f1}.call+.bar{fill:#6366f1}\
.switch{fill:#fffbeb;stroke:#d9a441}\
.wait{fill:#f0f9ff;stroke:#7dbbe0}\
.raise{fill:#fff1f2;stroke:#e08a95}\
.line{fill:none;stroke:#64748b;stroke-width:1.4}\
.back{stroke:#0d9488}\
.error{stroke:#dc6a6a;stroke-dasharray:5 4}\
.dot{fill:#fff;stroke:#64748b;stroke-width:1.6}\
.full{fill:#64748b}\
.done{fill:#e3f7ea;stroke:#2e9e5b}\
.active{fill:#dbeafe;stroke:#2563eb;stroke-width:2}\
.waiting{fill:#fef3c7;stroke:#d97706;stroke-width:2}\
.failed{fill:#fee2e2;stroke:#dc2626;stroke-width:2}\
.frame.done,.frame.active,.frame.waiting,.frame.failed{fill-opacity:.35}";

pub(super) fn draw(plan: &Plan, marks: &Marks) -> String {
    let whole = picture(plan, marks);
    let title = format!("{} {}", plan.name, plan.version.0);
    let words = [Some(title.as_str()), marks.heading()];
    let head = if marks.heading().is_some() { 52 } else { 34 };
    let wide = words.into_iter().flatten().map(|text| width(text, true) * 5 / 4).fold(whole.width, i32::max);
    let (w, h) = (wide + 2 * MARGIN, whole.height + 2 * MARGIN + head);
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n<defs>\n",
        escape(&title)
    );
    for (id, colour) in [("next", "#64748b"), ("back", "#0d9488"), ("error", "#dc6a6a")] {
        let _ = writeln!(
            out,
            "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\" \
             markerUnits=\"userSpaceOnUse\"><path d=\"M0 0 8 4 0 8Z\" fill=\"{colour}\"/></marker>"
        );
    }
    let _ = writeln!(out, "</defs>\n<rect width=\"{w}\" height=\"{h}\" fill=\"#fff\"/>");
    let _ = writeln!(out, "<text class=\"head\" x=\"{MARGIN}\" y=\"{}\">{}</text>", MARGIN + 12, escape(&title));
    if let Some(heading) = marks.heading() {
        let _ = writeln!(out, "<text x=\"{MARGIN}\" y=\"{}\">{}</text>", MARGIN + 32, escape(heading));
    }
    let left = MARGIN + (wide - whole.width) / 2;
    let _ = writeln!(out, "<g transform=\"translate({left} {})\">", MARGIN + head);
    let pen = Pen { plan, marks };
    // frames lie below lines, lines below tasks and words
    for layer in 0..3 {
        whole.items.iter().filter(|item| depth(item) == layer).for_each(|item| pen.item(&mut out, item));
    }
    out.push_str("</g>\n</svg>\n");
    out
}

const fn depth(item: &Item) -> u8 {
    match item {
        Item::Frame { .. } => 0,
        Item::Line { .. } => 1,
        Item::Task { .. } | Item::Words { .. } | Item::Dot { .. } => 2,
    }
}

struct Pen<'p> {
    plan: &'p Plan,
    marks: &'p Marks,
}

impl Pen<'_> {
    fn item(&self, out: &mut String, item: &Item) {
        match item {
            Item::Task { at, size, node, lines } => {
                let node = self.plan.node(*node);
                let _ = write!(out, "<g><title>{}</title>", escape(&node.path.0));
                self.body(out, node, *at, *size);
                let mut y = at.1 + (size.1 - text_height(lines)) / 2 + 13;
                for (i, line) in lines.iter().enumerate() {
                    let class = if i == 0 { " class=\"name\"" } else { "" };
                    let x = at.0 + size.0 / 2;
                    let _ =
                        write!(out, "<text{class} x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{}</text>", escape(line));
                    y += if i == 0 { LINE.0 } else { LINE.1 };
                }
                out.push_str("</g>\n");
            }
            Item::Frame { at, size, node, lines, caught } => {
                let node = node.map(|id| self.plan.node(id));
                let class = match (node, caught) {
                    (Some(node), _) => format!("frame{}", self.state(node)),
                    (None, true) => "caught".into(),
                    (None, false) => "part".into(),
                };
                let _ = write!(out, "<g>");
                if let Some(node) = node {
                    let _ = write!(out, "<title>{}</title>", escape(&node.path.0));
                }
                let _ = write!(out, "{}", rect(&class, *at, *size, 10));
                let mut y = at.1 + 21;
                for (i, line) in lines.iter().enumerate() {
                    let class = if i == 0 { " class=\"name\"" } else { "" };
                    let _ = write!(out, "<text{class} x=\"{}\" y=\"{y}\">{}</text>", at.0 + 14, escape(line));
                    y += if i == 0 { LINE.0 } else { LINE.1 };
                }
                out.push_str("</g>\n");
            }
            Item::Line { points, meaning, head } => {
                let (class, id) = match meaning {
                    Meaning::Next => ("line", "next"),
                    Meaning::Back => ("line back", "back"),
                    Meaning::Error => ("line error", "error"),
                };
                let path: Vec<String> = points.iter().map(|(x, y)| format!("{x} {y}")).collect();
                let end = if *head { format!(" marker-end=\"url(#{id})\"") } else { String::new() };
                let _ = writeln!(out, "<path class=\"{class}\" d=\"M{}\"{end}/>", path.join(" L"));
            }
            Item::Words { at, anchor, text } => {
                let anchor = match anchor {
                    Anchor::Start => "start",
                    Anchor::End => "end",
                };
                let text = escape(text);
                let _ = writeln!(
                    out,
                    "<text class=\"words\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
                    at.0, at.1
                );
            }
            Item::Dot { at, radius, filled } => {
                let class = if *filled { "dot full" } else { "dot" };
                let _ = writeln!(out, "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{radius}\"/>", at.0, at.1);
            }
        }
    }

    /// The form of a task says what kind it is.
    fn body(&self, out: &mut String, node: &Node, at: Point, size: Point) {
        let state = self.state(node);
        let ((x, y), (w, h)) = (at, size);
        let _ = match &node.kind {
            NodeKind::Switch { .. } => {
                let (right, bottom, middle) = (x + w, y + h, y + h / 2);
                let (a, b) = (x + 12, right - 12);
                write!(
                    out,
                    "<path class=\"box switch{state}\" d=\"M{a} {y} L{b} {y} L{right} {middle} L{b} {bottom} L{a} {bottom} L{x} {middle}Z\"/>"
                )
            }
            NodeKind::Wait { .. } | NodeKind::Listen(_) => {
                write!(out, "{}", rect(&format!("box wait{state}"), at, size, h / 2))
            }
            NodeKind::Raise { .. } => write!(out, "{}", rect(&format!("box raise{state}"), at, size, 2)),
            NodeKind::Call(_) => {
                let bar = rect("bar", (x, y + 8), (4, h - 16), 2);
                write!(out, "{}{bar}", rect(&format!("box call{state}"), at, size, 8))
            }
            NodeKind::Do { .. }
            | NodeKind::Set { .. }
            | NodeKind::For { .. }
            | NodeKind::Fork { .. }
            | NodeKind::Try { .. }
            | NodeKind::Scope { .. } => write!(out, "{}", rect(&format!("box{state}"), at, size, 8)),
        };
    }

    fn state(&self, node: &Node) -> &'static str {
        match self.marks.get(&node.path.0).map(|mark| mark.state) {
            None => "",
            Some(State::Done) => " done",
            Some(State::Failed) => " failed",
            Some(State::Waiting) => " waiting",
            Some(State::Active) => " active",
        }
    }
}

fn text_height(lines: &[String]) -> i32 {
    LINE.0 + LINE.1 * i32::try_from(lines.len().saturating_sub(1)).unwrap_or(0)
}

fn rect(class: &str, (x, y): Point, (w, h): Point, radius: i32) -> String {
    format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{radius}\"/>")
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // characters that XML does not have
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
