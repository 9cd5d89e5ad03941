//! Rules in words: `category in ["tea", "cups"] and price <= 20 and not tag("adult")`.
//!
//! ```text
//! rule       = and-terms with `or` between; terms with `and` between; `not` before a term; brackets
//! comparison = value (== | != | < | <= | > | >=) value, value [not] in [literal, …]
//! value      = number, "text", true, false, field, + - * / of numbers, function
//! field      = id title category price stock created margin blocked, attributes.NAME for free ones
//! function   = tag("t")  sold_in("region")  known(field)  contains(text, "part")  starts_with(text, "part")  lower(text)
//! ```
//!
//! `&&`, `||` and `!` may be written too, texts in single quotes as well. A comparison with what is not known is false,
//! so `price <= 20` leaves out items without a price and `not (price <= 20)` keeps them. An attribute of several texts
//! compares as any of them does. A fault is told with its position and what was expected there. The language is small
//! on purpose: of the crates that were weighed one is under the AGPL (`evalexpr`), the others bring a parser generator
//! or a whole scripting engine (`cel-interpreter`, `rhai`), and none tells types before it runs.
//!
//! A rule is evaluated once for each item; the answer is kept as a set of bits, which is mended as items change.
//!
//! ```
//! use tradewind_recommend::serve::rules::check;
//! assert!(check(r#"category == "tea" or price * 2 < 5"#).is_ok());
//! let told = check(r#"price <= "20""#).unwrap_err().to_string();
//! assert!(told.contains("position 10") && told.contains("a number"), "{told}");
//! ```

use super::items::{Item, Items, Value};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tradewind_core::{Error, ItemSet, Result};

/// An error that names the position where the rule is wrong.
pub fn check(rule: &str) -> Result<()> {
    parse(rule).map(|_| ())
}

/// Letters of a rule at most.
const LETTERS_MAX: usize = 4000;
/// Brackets and `not` within one another at most.
const DEPTH_MAX: usize = 60;
/// Rules whose sets are kept.
const KEPT_MAX: usize = 256;

/// A parsed rule.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Text(String),
    Flag(bool),
    Field(Field),
    Attribute(String),
    Tag(String),
    SoldIn(String),
    Known(Box<Node>),
    Contains(Box<Node>, String),
    StartsWith(Box<Node>, String),
    Lower(Box<Node>),
    Or(Box<Node>, Box<Node>),
    And(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    In(Box<Node>, Vec<Node>),
    Arithmetic(char, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Field {
    Id,
    Title,
    Category,
    Price,
    Stock,
    Created,
    Margin,
    Blocked,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("title", Field::Title),
    ("category", Field::Category),
    ("price", Field::Price),
    ("stock", Field::Stock),
    ("created", Field::Created),
    ("margin", Field::Margin),
    ("blocked", Field::Blocked),
];
const FUNCTIONS: &[&str] = &["tag", "sold_in", "known", "contains", "starts_with", "lower"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Differs,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a part of a rule gives; `Any` is a free attribute, whose kind is known only item by item.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Number,
    Text,
    Flag,
    Any,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Flag => "a condition",
            Self::Any => "an attribute",
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(f64),
    Text(String),
    Word(String),
    Sign(&'static str),
    End,
}

impl Token {
    fn words(&self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(t) => format!("{t:?}"),
            Self::Word(w) => format!("`{w}`"),
            Self::Sign(s) => format!("`{s}`"),
            Self::End => "the end".into(),
        }
    }
}

fn fault(position: usize, expected: &str, found: &str) -> Error {
    Error::Invalid(format!("rule, position {position}: expected {expected}, found {found}"))
}

const SIGNS: &[&str] =
    &["==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "[", "]", ",", "+", "-", "*", "/", "."];

/// The tokens with their positions, counted in letters from 1.
fn tokens(rule: &str) -> Result<Vec<(Token, usize)>> {
    let letters: Vec<char> = rule.chars().collect();
    if letters.len() > LETTERS_MAX {
        return Err(fault(LETTERS_MAX + 1, &format!("a rule of {LETTERS_MAX} letters at most"), "more"));
    }
    let (mut out, mut at) = (Vec::new(), 0);
    while at < letters.len() {
        let (start, c) = (at, letters[at]);
        if c.is_whitespace() {
            at += 1;
        } else if c.is_ascii_digit() {
            while at < letters.len() && (letters[at].is_ascii_digit() || letters[at] == '.') {
                at += 1;
            }
            let exponent = letters.get(at).is_some_and(|c| matches!(c, 'e' | 'E'));
            let signed = letters.get(at + 1).is_some_and(|c| matches!(c, '+' | '-'));
            let digits = at + 1 + usize::from(signed);
            if exponent && letters.get(digits).is_some_and(char::is_ascii_digit) {
                at = digits;
                while at < letters.len() && letters[at].is_ascii_digit() {
                    at += 1;
                }
            }
            let text: String = letters[start..at].iter().collect();
            let number: f64 = text.parse().map_err(|_| fault(start + 1, "a number", &text))?;
            if !number.is_finite() {
                return Err(fault(start + 1, "a finite number", &text));
            }
            out.push((Token::Number(number), start + 1));
        } else if c == '"' || c == '\'' {
            let mut text = String::new();
            at += 1;
            loop {
                match letters.get(at) {
                    None => return Err(fault(at + 1, &format!("a closing {c}"), "the end")),
                    Some('\\') if at + 1 < letters.len() => {
                        text.push(letters[at + 1]);
                        at += 2;
                    }
                    Some(d) if *d == c => break,
                    Some(d) => {
                        text.push(*d);
                        at += 1;
                    }
                }
            }
            at += 1;
            out.push((Token::Text(text), start + 1));
        } else if c.is_alphabetic() || c == '_' {
            while at < letters.len() && (letters[at].is_alphanumeric() || letters[at] == '_') {
                at += 1;
            }
            out.push((Token::Word(letters[start..at].iter().collect()), start + 1));
        } else {
            let sign = SIGNS.iter().find(|s| letters[at..].iter().take(s.len()).copied().eq(s.chars()));
            let Some(sign) = sign else {
                return Err(fault(start + 1, "a value, a word or a sign", &format!("`{c}`")));
            };
            at += sign.len();
            out.push((Token::Sign(sign), start + 1));
        }
    }
    out.push((Token::End, letters.len() + 1));
    Ok(out)
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
}

/// A part of a rule, what it gives and where it begins.
type Part = (Node, Kind, usize);

fn parse(rule: &str) -> Result<Node> {
    let mut parser = Parser { tokens: tokens(rule)?, at: 0, depth: 0 };
    let part = parser.or()?;
    let (token, position) = parser.peek();
    if *token != Token::End {
        return Err(fault(position, "`and`, `or` or the end", &token.words()));
    }
    condition(part)
}

/// The part as a condition; a free attribute may be one.
fn condition((node, kind, position): Part) -> Result<Node> {
    match kind {
        Kind::Flag | Kind::Any => Ok(node),
        other => Err(fault(position, Kind::Flag.words(), other.words())),
    }
}

fn of_kind((node, kind, position): Part, wanted: Kind) -> Result<Node> {
    match kind == wanted || kind == Kind::Any {
        true => Ok(node),
        false => Err(fault(position, wanted.words(), kind.words())),
    }
}

impl Parser {
    fn peek(&self) -> (&Token, usize) {
        let (token, position) = &self.tokens[self.at];
        (token, *position)
    }

    fn next(&mut self) -> (Token, usize) {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn takes(&mut self, sign: &str, word: &str) -> bool {
        let found = match self.peek().0 {
            Token::Sign(s) => *s == sign,
            Token::Word(w) => !word.is_empty() && w == word,
            _ => false,
        };
        if found {
            self.next();
        }
        found
    }

    fn sign(&mut self, sign: &'static str) -> Result<()> {
        match self.next() {
            (Token::Sign(s), _) if s == sign => Ok(()),
            (other, position) => Err(fault(position, &format!("`{sign}`"), &other.words())),
        }
    }

    fn text(&mut self) -> Result<String> {
        match self.next() {
            (Token::Text(text), _) => Ok(text),
            (other, position) => Err(fault(position, "a text in quotes", &other.words())),
        }
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let (token, position) = self.peek();
            return Err(fault(position, &format!("{DEPTH_MAX} levels at most"), &token.words()));
        }
        let out = inner(self);
        self.depth -= 1;
        out
    }

    fn or(&mut self) -> Result<Part> {
        let mut left = self.and()?;
        while self.takes("||", "or") {
            let position = left.2;
            let right = condition(self.and()?)?;
            left = (Node::Or(condition(left)?.into(), right.into()), Kind::Flag, position);
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Part> {
        let mut left = self.not()?;
        while self.takes("&&", "and") {
            let position = left.2;
            let right = condition(self.not()?)?;
            left = (Node::And(condition(left)?.into(), right.into()), Kind::Flag, position);
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Part> {
        let position = self.peek().1;
        if self.takes("!", "not") {
            let inner = self.deeper(Self::not)?;
            return Ok((Node::Not(condition(inner)?.into()), Kind::Flag, position));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Part> {
        use Comparison::{Differs, Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        let left = self.sum()?;
        let position = left.2;
        let not_in = *self.peek().0 == Token::Word("not".into())
            && self.tokens.get(self.at + 1).is_some_and(|t| t.0 == Token::Word("in".into()));
        if not_in {
            self.next();
        }
        if self.takes("", "in") {
            let list = self.list(left.1)?;
            let node = Node::In(left.0.into(), list);
            return Ok((if not_in { Node::Not(node.into()) } else { node }, Kind::Flag, position));
        }
        let comparison = match self.peek().0 {
            Token::Sign("==") => Equal,
            Token::Sign("!=") => Differs,
            Token::Sign("<") => Less,
            Token::Sign("<=") => LessOrEqual,
            Token::Sign(">") => Greater,
            Token::Sign(">=") => GreaterOrEqual,
            _ => return Ok(left),
        };
        self.next();
        let right = self.sum()?;
        let ordered = !matches!(comparison, Equal | Differs);
        if ordered && left.1 == Kind::Flag {
            return Err(fault(left.2, "a number or a text", left.1.words()));
        }
        if left.1 != right.1 && left.1 != Kind::Any && right.1 != Kind::Any {
            return Err(fault(right.2, left.1.words(), right.1.words()));
        }
        if ordered && right.1 == Kind::Flag {
            return Err(fault(right.2, "a number or a text", right.1.words()));
        }
        Ok((Node::Compare(comparison, left.0.into(), right.0.into()), Kind::Flag, position))
    }

    fn list(&mut self, kind: Kind) -> Result<Vec<Node>> {
        self.sign("[")?;
        let mut out = Vec::new();
        while !self.takes("]", "") {
            if !out.is_empty() {
                self.sign(",")?;
            }
            let minus = self.takes("-", "");
            let (node, own, position) = match self.next() {
                (Token::Number(n), at) => (Node::Number(if minus { -n } else { n }), Kind::Number, at),
                (Token::Text(t), at) if !minus => (Node::Text(t), Kind::Text, at),
                (Token::Word(w), at) if !minus && w == "true" => (Node::Flag(true), Kind::Flag, at),
                (Token::Word(w), at) if !minus && w == "false" => (Node::Flag(false), Kind::Flag, at),
                (other, at) => return Err(fault(at, "a number or a text in quotes", &other.words())),
            };
            if kind != Kind::Any && kind != own {
                return Err(fault(position, kind.words(), own.words()));
            }
            out.push(node);
        }
        Ok(out)
    }

    fn sum(&mut self) -> Result<Part> {
        let mut left = self.product()?;
        loop {
            let sign = match self.peek().0 {
                Token::Sign("+") => '+',
                Token::Sign("-") => '-',
                _ => return Ok(left),
            };
            self.next();
            let right = self.product()?;
            left = arithmetic(sign, left, right)?;
        }
    }

    fn product(&mut self) -> Result<Part> {
        let mut left = self.atom()?;
        loop {
            let sign = match self.peek().0 {
                Token::Sign("*") => '*',
                Token::Sign("/") => '/',
                _ => return Ok(left),
            };
            self.next();
            let right = self.atom()?;
            left = arithmetic(sign, left, right)?;
        }
    }

    fn atom(&mut self) -> Result<Part> {
        let (token, position) = self.next();
        let (node, kind) = match token {
            Token::Number(n) => (Node::Number(n), Kind::Number),
            Token::Text(t) => (Node::Text(t), Kind::Text),
            Token::Sign("-") => {
                let inner = of_kind(self.deeper(Self::atom)?, Kind::Number)?;
                (Node::Arithmetic('-', Node::Number(0.0).into(), inner.into()), Kind::Number)
            }
            Token::Sign("(") => {
                let (node, kind, _) = self.deeper(Self::or)?;
                self.sign(")")?;
                (node, kind)
            }
            Token::Word(w) if w == "true" || w == "false" => (Node::Flag(w == "true"), Kind::Flag),
            Token::Word(w) if w == "attributes" => {
                self.sign(".")?;
                match self.next() {
                    (Token::Word(name) | Token::Text(name), _) => (Node::Attribute(name), Kind::Any),
                    (other, at) => return Err(fault(at, "the name of an attribute", &other.words())),
                }
            }
            Token::Word(w) if FUNCTIONS.contains(&w.as_str()) => self.deeper(|p| p.function(&w))?,
            Token::Word(w) => match FIELDS.iter().find(|f| f.0 == w) {
                Some((_, field)) => {
                    let kind = match field {
                        Field::Id | Field::Title | Field::Category => Kind::Text,
                        Field::Blocked => Kind::Flag,
                        _ => Kind::Number,
                    };
                    (Node::Field(*field), kind)
                }
                None => {
                    let fields: Vec<&str> = FIELDS.iter().map(|f| f.0).collect();
                    let known = format!(
                        "a field ({}, attributes.NAME) or a function ({})",
                        fields.join(", "),
                        FUNCTIONS.join(", ")
                    );
                    return Err(fault(position, &known, &format!("`{w}`")));
                }
            },
            other => return Err(fault(position, "a value, a field or a function", &other.words())),
        };
        Ok((node, kind, position))
    }

    fn function(&mut self, name: &str) -> Result<(Node, Kind)> {
        self.sign("(")?;
        let out = match name {
            "tag" => (Node::Tag(self.text()?), Kind::Flag),
            "sold_in" => (Node::SoldIn(self.text()?), Kind::Flag),
            "known" => {
                let (node, _, position) = self.atom()?;
                if !matches!(node, Node::Field(_) | Node::Attribute(_)) {
                    return Err(fault(position, "a field", "another value"));
                }
                (Node::Known(node.into()), Kind::Flag)
            }
            "lower" => (Node::Lower(of_kind(self.sum()?, Kind::Text)?.into()), Kind::Text),
            _ => {
                let text = of_kind(self.sum()?, Kind::Text)?.into();
                self.sign(",")?;
                let part = self.text()?;
                match name {
                    "contains" => (Node::Contains(text, part), Kind::Flag),
                    _ => (Node::StartsWith(text, part), Kind::Flag),
                }
            }
        };
        self.sign(")")?;
        Ok(out)
    }
}

fn arithmetic(sign: char, left: Part, right: Part) -> Result<Part> {
    let position = left.2;
    let (left, right) = (of_kind(left, Kind::Number)?, of_kind(right, Kind::Number)?);
    Ok((Node::Arithmetic(sign, left.into(), right.into()), Kind::Number, position))
}

/// What a part gives for one item.
#[derive(Clone, Debug)]
enum Given<'a> {
    Missing,
    Number(f64),
    Text(&'a str),
    Owned(String),
    Texts(&'a [String]),
    Flag(bool),
}

impl Given<'_> {
    /// Whether one of the texts is so, or the only one.
    fn some_text(&self, mut so: impl FnMut(&str) -> bool) -> bool {
        match self {
            Self::Text(t) => so(t),
            Self::Owned(t) => so(t),
            Self::Texts(all) => all.iter().any(|t| so(t)),
            _ => false,
        }
    }
}

impl Node {
    fn holds(&self, items: &Items, at: u32) -> bool {
        matches!(self.give(items, at, items.at(at)), Given::Flag(true))
    }

    fn give<'a>(&'a self, items: &'a Items, at: u32, item: &'a Item) -> Given<'a> {
        let text = |t: &'a Option<String>| t.as_deref().map_or(Given::Missing, Given::Text);
        let number = |n: Option<f64>| n.map_or(Given::Missing, Given::Number);
        let holds = |n: &'a Node| matches!(n.give(items, at, item), Given::Flag(true));
        match self {
            Self::Number(n) => Given::Number(*n),
            Self::Text(t) => Given::Text(t),
            Self::Flag(f) => Given::Flag(*f),
            Self::Field(field) => match field {
                Field::Id => Given::Text(items.ids().name(at)),
                Field::Title => text(&item.title),
                Field::Category => text(&item.category),
                Field::Price => number(item.price),
                Field::Stock => number(item.stock),
                Field::Created => number(item.created.map(|c| c as f64)),
                Field::Margin => number(item.margin),
                Field::Blocked => Given::Flag(item.blocked),
            },
            Self::Attribute(name) => match item.attributes.get(name) {
                None => Given::Missing,
                Some(Value::Number(n)) => Given::Number(*n),
                Some(Value::Text(t)) => Given::Text(t),
                Some(Value::Texts(t)) => Given::Texts(t),
                Some(Value::Flag(f)) => Given::Flag(*f),
            },
            Self::Tag(tag) => Given::Flag(item.tags.iter().any(|t| t == tag)),
            Self::SoldIn(region) => {
                Given::Flag(item.regions.is_empty() || item.regions.iter().any(|r| r == region))
            }
            Self::Known(node) => Given::Flag(!matches!(node.give(items, at, item), Given::Missing)),
            Self::Contains(node, part) => {
                Given::Flag(node.give(items, at, item).some_text(|t| t.contains(part.as_str())))
            }
            Self::StartsWith(node, part) => {
                Given::Flag(node.give(items, at, item).some_text(|t| t.starts_with(part.as_str())))
            }
            Self::Lower(node) => match node.give(items, at, item) {
                Given::Text(t) => Given::Owned(t.to_lowercase()),
                Given::Owned(t) => Given::Owned(t.to_lowercase()),
                _ => Given::Missing,
            },
            Self::Or(a, b) => Given::Flag(holds(a) || holds(b)),
            Self::And(a, b) => Given::Flag(holds(a) && holds(b)),
            Self::Not(a) => Given::Flag(!holds(a)),
            Self::Compare(how, a, b) => {
                Given::Flag(compare(*how, &a.give(items, at, item), &b.give(items, at, item)))
            }
            Self::In(a, list) => {
                let value = a.give(items, at, item);
                Given::Flag(
                    list.iter().any(|b| compare(Comparison::Equal, &value, &b.give(items, at, item))),
                )
            }
            Self::Arithmetic(sign, a, b) => match (a.give(items, at, item), b.give(items, at, item)) {
                (Given::Number(a), Given::Number(b)) => {
                    let out = match sign {
                        '+' => a + b,
                        '-' => a - b,
                        '*' => a * b,
                        _ => a / b,
                    };
                    if out.is_finite() { Given::Number(out) } else { Given::Missing }
                }
                _ => Given::Missing,
            },
        }
    }
}

fn compare(how: Comparison, a: &Given<'_>, b: &Given<'_>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let so = |order: std::cmp::Ordering| match how {
        Comparison::Equal => order == Equal,
        Comparison::Differs => order != Equal,
        Comparison::Less => order == Less,
        Comparison::LessOrEqual => order != Greater,
        Comparison::Greater => order == Greater,
        Comparison::GreaterOrEqual => order != Less,
    };
    match (a, b) {
        (Given::Number(a), Given::Number(b)) => a.partial_cmp(b).is_some_and(so),
        (Given::Flag(a), Given::Flag(b)) => so(a.cmp(b)),
        // Of several texts one that is so is enough, also for `!=`.
        _ => a.some_text(|a| b.some_text(|b| so(a.cmp(b)))),
    }
}

/// A set with the version of the table it was made for.
struct Kept {
    node: Arc<Node>,
    version: u64,
    set: Arc<ItemSet>,
}

/// Rules with the items for which they hold.
#[derive(Default)]
pub(crate) struct Rules {
    kept: RwLock<HashMap<String, Kept>>,
}

impl Rules {
    /// The items for which a rule holds now.
    pub(crate) fn set(&self, rule: &str, items: &Items) -> Result<Arc<ItemSet>> {
        let version = items.version();
        let old = {
            let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
            match kept.get(rule) {
                Some(k) if k.version == version => return Ok(k.set.clone()),
                Some(k) => Some((k.node.clone(), k.version, k.set.clone())),
                None => None,
            }
        };
        let mended = old.as_ref().and_then(|(node, before, set)| {
            let changes = items.changed_since(*before)?;
            let mut set = ItemSet::clone(set);
            for at in changes {
                if node.holds(items, at) { set.insert(at) } else { set.remove(at) }
            }
            Some((node.clone(), set))
        });
        let (node, set) = match mended {
            Some(mended) => mended,
            None => {
                let node = old.map_or_else(|| parse(rule).map(Arc::new), |o| Ok(o.0))?;
                let mut set = ItemSet::none(items.len());
                (0..items.len() as u32).filter(|at| node.holds(items, *at)).for_each(|at| set.insert(at));
                (node, set)
            }
        };
        let set = Arc::new(set);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX && !kept.contains_key(rule) {
            // The least recently made one goes.
            let oldest = kept.iter().min_by(|a, b| (a.1.version, a.0).cmp(&(b.1.version, b.0)));
            if let Some(oldest) = oldest.map(|e| e.0.clone()) {
                kept.remove(&oldest);
            }
        }
        // A request that began before a change must not put its older set over a newer one.
        if kept.get(rule).is_none_or(|k| k.version <= version) {
            kept.insert(rule.to_owned(), Kept { node, version, set: set.clone() });
        }
        Ok(set)
    }
}

/// The text as a literal of a rule.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Items {
        let mut items = Items::new();
        let texts = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let mut tea = Item {
            title: Some("Green Tea".into()),
            category: Some("tea".into()),
            price: Some(9.5),
            stock: Some(3.0),
            tags: texts(&["hot", "new"]),
            regions: texts(&["cn"]),
            ..Item::default()
        };
        tea.attributes.insert("colours".into(), Value::Texts(texts(&["green", "brown"])));
        tea.attributes.insert("grams".into(), Value::Number(100.0));
        items.set("tea", tea).unwrap();
        items
            .set("cup", Item { category: Some("cups".into()), price: Some(20.0), ..Item::default() })
            .unwrap();
        items.set("odd", Item::default()).unwrap();
        items
    }

    fn check_holds(rule: &str, expected: &[&str]) {
        let items = table();
        let set = Rules::default().set(rule, &items).unwrap_or_else(|e| panic!("{rule}: {e}"));
        let got: Vec<&str> = set.iter().map(|i| items.ids().name(i)).collect();
        assert_eq!(got, expected, "{rule}");
    }

    #[test]
    fn rules_hold_where_they_should() {
        check_holds(r#"category in ["tea", "cups"] and price <= 20 and not tag("adult")"#, &["tea", "cup"]);
        check_holds("price < 20", &["tea"]);
        check_holds("not (price < 20)", &["cup", "odd"]);
        check_holds("!(price < 20) && known(price)", &["cup"]);
        check_holds("price * 2 - 1 >= 18 / 1", &["tea", "cup"]);
        check_holds("price + 1 * 2 == 22", &["cup"]);
        check_holds("-price < -10", &["cup"]);
        check_holds("price / 0 > 1", &[]);
        check_holds(r#"category not in ['tea']"#, &["cup", "odd"]);
        check_holds(r#"tag("hot") or id == "odd""#, &["tea", "odd"]);
        check_holds(r#"attributes.colours == "brown""#, &["tea"]);
        check_holds(r#"attributes.colours in ["red"]"#, &[]);
        check_holds("attributes.grams > 50", &["tea"]);
        check_holds(r#"attributes.grams == "100""#, &[]);
        check_holds(r#"contains(lower(title), "tea")"#, &["tea"]);
        check_holds(r#"starts_with(id, "t") or starts_with(id, "o")"#, &["tea", "odd"]);
        check_holds(r#"sold_in("fr")"#, &["cup", "odd"]);
        check_holds("blocked == false and true", &["tea", "cup", "odd"]);
        check_holds("true or false and false", &["tea", "cup", "odd"]);
        check_holds(r#"category in []"#, &[]);
        check_holds(r#"id == "a\"b" or price in [-1, 20]"#, &["cup"]);
        check_holds(&format!("category == {}", quoted("tea")), &["tea"]);
    }

    #[test]
    fn faults_name_the_position_and_what_was_expected() {
        for (rule, position, expected) in [
            ("", 1, "a value"),
            ("price <=", 9, "a value"),
            (r#"price <= "20""#, 10, "a number"),
            ("pirce < 3", 1, "price"),
            ("price < 3 category", 11, "`and`, `or` or the end"),
            (r#"category in ["tea" "cup"]"#, 20, "`,`"),
            ("category in [3]", 14, "a text"),
            ("tag(hot)", 5, "a text in quotes"),
            ("(price < 3", 11, "`)`"),
            (r#"title == "abc"#, 14, "a closing \""),
            ("price", 1, "a condition"),
            ("price and true", 1, "a condition"),
            ("1 < 2 < 3", 7, "`and`, `or` or the end"),
            ("blocked < true", 1, "a number or a text"),
            ("price # 3", 7, "a value, a word or a sign"),
            ("known(3)", 7, "a field"),
            ("1.2.3 < price", 1, "a number"),
            ("category + 1 > 2", 1, "a number"),
            ("茶 == 3", 1, "a field"),
        ] {
            let told = check(rule).expect_err(rule).to_string();
            assert!(told.contains(&format!("position {position}:")) && told.contains(expected), "{rule}: {told}");
        }
        assert!(check(&"(".repeat(3000)).is_err() && check(&"not ".repeat(900)).is_err());
        assert!(check(&"x".repeat(5000)).unwrap_err().to_string().contains("position 4001"));
    }

    #[test]
    fn kept_sets_are_mended() {
        let mut items = table();
        let rules = Rules::default();
        let count = |items: &Items| rules.set("price < 20", items).unwrap().len();
        assert_eq!(count(&items), 1);
        items.change("cup", |i| i.price = Some(5.0)).unwrap();
        assert_eq!(count(&items), 2);
        items.set("pot", Item { price: Some(1.0), ..Item::default() }).unwrap();
        items.change("tea", |i| i.price = None).unwrap();
        assert_eq!(count(&items), 2);
        for k in 0..KEPT_MAX * 2 {
            rules.set(&format!("price < {k}"), &items).unwrap();
        }
        assert!(rules.kept.read().unwrap().len() <= KEPT_MAX);
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_a_fault(text in r#"[ a-z0-9"'()\[\],.<>=!&|+*/茶-]{0,40}"#) {
            let _ = check(&text);
        }

        #[test]
        fn words_of_the_language_in_any_order(
            words in prop::collection::vec(prop::sample::select(vec![
                "price", "category", "not", "and", "or", "in", "(", ")", "[", "]", ",", "\"a\"", "1", "<", "==", "tag",
                "attributes.x", "-", "+", "known", "true",
            ]), 0..12)
        ) {
            let items = table();
            let rule = words.join(" ");
            if check(&rule).is_ok() {
                prop_assert!(Rules::default().set(&rule, &items).is_ok());
            }
        }
    }
}
