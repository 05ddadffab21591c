//! The little XML that object stores answer with: elements and text. Attributes are skipped, a document type is refused.

/// Deepest nesting.
const DEEPEST: usize = 16;

/// An element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Name without its prefix.
    pub(super) name: String,
    /// Text directly in it.
    pub(super) text: String,
    /// Elements directly in it.
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The text of the first child of this name; empty if there is none.
    pub(super) fn child(&self, name: &str) -> &str {
        self.find(name).map_or("", |child| child.text.as_str())
    }

    /// The first child of this name.
    pub(super) fn find(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The children of this name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }
}

/// Reads a document; its outermost element.
pub(super) fn parse(bytes: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())?;
    let mut rest = text.trim_start_matches('\u{feff}');
    let mut open: Vec<Element> = vec![Element::default()];
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        top(&mut open)?.text.push_str(&unescape(before)?);
        rest = markup(tag, &mut open)?;
    }
    let mut outside = open
        .pop()
        .filter(|_| open.is_empty())
        .ok_or("an element is not closed")?;
    match (outside.children.pop(), outside.children.is_empty()) {
        (Some(root), true) => Ok(root),
        _ => Err("it is not one element".to_owned()),
    }
}

fn top(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut()
        .ok_or_else(|| "an element is closed twice".to_owned())
}

/// Reads one tag or the like at the beginning of `tag`; what follows it.
fn markup<'a>(tag: &'a str, open: &mut Vec<Element>) -> Result<&'a str, String> {
    let until = |from: &str, end: &str| {
        let at = tag.get(from.len()..).and_then(|rest| rest.find(end));
        at.map(|at| (from.len(), from.len() + at, from.len() + at + end.len()))
            .ok_or_else(|| format!("'{from}' has no end"))
    };
    if tag.starts_with("<!--") {
        return Ok(&tag[until("<!--", "-->")?.2..]);
    }
    if tag.starts_with("<?") {
        return Ok(&tag[until("<?", "?>")?.2..]);
    }
    if tag.starts_with("<![CDATA[") {
        let (from, to, next) = until("<![CDATA[", "]]>")?;
        top(open)?.text.push_str(&tag[from..to]);
        return Ok(&tag[next..]);
    }
    if tag.starts_with("<!") {
        return Err("it has a document type, which is refused".to_owned());
    }
    let end = tag_end(tag).ok_or("a tag has no end")?;
    let (inside, next) = (&tag[1..end], &tag[end + 1..]);
    if inside.starts_with('/') {
        close(open)?;
        return Ok(next);
    }
    let (inside, empty) = inside
        .strip_suffix('/')
        .map_or((inside, false), |inside| (inside, true));
    let name = inside.split_ascii_whitespace().next().unwrap_or_default();
    if open.len() > DEEPEST {
        return Err("it is nested too deeply".to_owned());
    }
    open.push(Element {
        name: name.rsplit(':').next().unwrap_or_default().to_owned(),
        ..Element::default()
    });
    if empty {
        close(open)?;
    }
    Ok(next)
}

/// Where a tag ends, past the quotes of its attributes.
fn tag_end(tag: &str) -> Option<usize> {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), byte) if open == byte => quote = None,
            _ => {}
        }
    }
    None
}

fn close(open: &mut Vec<Element>) -> Result<(), String> {
    let closed = open
        .pop()
        .filter(|_| !open.is_empty())
        .ok_or("an element is closed twice")?;
    top(open)?.children.push(closed);
    Ok(())
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..]
            .find(';')
            .map(|end| at + end)
            .ok_or("an '&' stands alone")?;
        let name = &rest[at + 1..end];
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => numbered(name).ok_or_else(|| format!("'&{name};' is not known"))?,
        });
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

/// The character of `#10` or `#xA`.
fn numbered(name: &str) -> Option<char> {
    let number = name.strip_prefix('#')?;
    let code = match number.strip_prefix('x').or_else(|| number.strip_prefix('X')) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse().ok()?,
    };
    char::from_u32(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_and_text_are_read_and_the_rest_is_skipped() {
        let text = "\u{feff}<?xml version=\"1.0\"?><!-- a > b --><s:List xmlns='x>y'>\n<Key>a &amp; b&#x2f;&#99;</Key>\
                    <Key><![CDATA[<raw>]]></Key><Empty/></s:List>";
        let list = parse(text.as_bytes()).unwrap();
        assert_eq!(list.name, "List");
        let keys: Vec<&str> = list.all("Key").map(|key| key.text.as_str()).collect();
        assert_eq!(keys, ["a & b/c", "<raw>"]);
        assert_eq!(list.child("Empty"), "");
        assert!(list.find("None").is_none());
    }

    #[test]
    fn what_is_no_such_document_is_an_error() {
        for text in [
            "",
            "text",
            "<a>",
            "</a>",
            "<a></a></a>",
            "<a/><b/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<a>&b;</a>",
            "<a>&#xd800;</a>",
            "<a",
            "<a b='>",
            "<!-- ",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        assert!(parse(deep.as_bytes()).unwrap_err().contains("deep"));
    }
}
