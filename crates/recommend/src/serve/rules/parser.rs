//! From the text of a rule to its parts, with kinds checked.

use super::{Comparison, FIELDS, Field, Node};
use tradewind_core::{Error, Result};

/// Letters of a rule at most.
const LETTERS_MAX: usize = 4000;
/// Brackets and `not` within one another at most.
const DEPTH_MAX: usize = 60;
const FUNCTIONS: &[&str] = &["tag", "sold_in", "known", "contains", "starts_with", "lower"];

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

pub(super) fn parse(rule: &str) -> Result<Node> {
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
