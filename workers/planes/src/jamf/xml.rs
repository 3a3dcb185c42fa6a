//! The Classic API's XML as a small tree. Pure; quick-xml reads and writes.
//!
//! # Guarantees
//! - What a server sends is data: a `DOCTYPE` or an entity of its own is refused, so nothing is ever expanded; depth,
//!   number of elements and length of a text are bounded.
//! - What is written is escaped; what was read and is written again means the same.

use quick_xml::Writer;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::reader::Reader;

const MAX_DEPTH: usize = 24;
const MAX_ELEMENTS: usize = 500_000;
/// Bytes of one element's text (a script in a policy is the longest there is).
const MAX_TEXT: usize = 1024 * 1024;

/// An element. Attributes, comments and processing instructions are dropped: the Classic API has none that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    pub name: Box<str>,
    /// Without white space at its ends.
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    pub fn with_text(name: &str, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), children: Vec::new() }
    }

    pub fn with(name: &str, children: impl IntoIterator<Item = Element>) -> Self {
        Self { name: name.into(), text: String::new(), children: children.into_iter().collect() }
    }

    /// The first child of that name: what the Classic API doubles (`<notification>`), it means once.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|c| &*c.name == name)
    }

    /// Text of the first child of that name; empty if there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |c| c.text.as_str())
    }

    /// `true` or `false`; anything else is an error that names the element.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, String> {
        match self.child(name).map(|c| c.text.as_str()) {
            None | Some("") => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!("<{name}> is '{}', not true or false", brief(other))),
        }
    }

    /// The document, with its declaration.
    pub fn to_document(&self) -> Result<String, String> {
        let mut writer = Writer::new(Vec::new());
        let decl = BytesDecl::new("1.0", Some("UTF-8"), None);
        writer.write_event(Event::Decl(decl)).map_err(|e| e.to_string())?;
        self.write(&mut writer).map_err(|e| e.to_string())?;
        String::from_utf8(writer.into_inner()).map_err(|e| e.to_string())
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        if self.text.is_empty() && self.children.is_empty() {
            return writer.write_event(Event::Empty(BytesStart::new(&*self.name)));
        }
        writer.write_event(Event::Start(BytesStart::new(&*self.name)))?;
        if !self.text.is_empty() {
            writer.write_event(Event::Text(BytesText::new(&self.text)))?;
        }
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(&*self.name)))
    }
}

fn brief(text: &str) -> String {
    crate::redact::one_line(text, 40)
}

/// Reads a whole document. The error says where and why.
pub fn parse(document: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(document).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    let mut count = 0_usize;
    loop {
        let event = reader.read_event();
        let at = reader.buffer_position();
        let wrong = |why: &str| format!("{why} (byte {at})");
        match event.map_err(|e| wrong(&brief(&e.to_string())))? {
            Event::Start(start) => {
                begin(&mut open, &root, &mut count, start.name().0).map_err(|e| wrong(&e))?;
            }
            Event::Empty(start) => {
                begin(&mut open, &root, &mut count, start.name().0).map_err(|e| wrong(&e))?;
                end(&mut open, &mut root);
            }
            Event::End(_) => end(&mut open, &mut root),
            Event::Text(text) => append(&mut open, &text.xml10_content()).map_err(|e| wrong(&e))?,
            Event::CData(text) => append(&mut open, &text.xml10_content()).map_err(|e| wrong(&e))?,
            Event::GeneralRef(name) => {
                let resolved = match name.resolve_char_ref() {
                    Ok(Some(c)) => c.to_string(),
                    Ok(None) => resolve_predefined_entity(&name.xml10_content())
                        .ok_or_else(|| wrong("an entity that XML does not define; none is expanded"))?
                        .to_owned(),
                    Err(e) => return Err(wrong(&brief(&e.to_string()))),
                };
                append(&mut open, &resolved).map_err(|e| wrong(&e))?;
            }
            Event::DocType(_) => return Err(wrong("a DOCTYPE, which may define entities: refused")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match (root, open.last()) {
        (_, Some(unclosed)) => Err(format!("ends inside <{}>", brief(&unclosed.name))),
        (None, None) => Err("no element".into()),
        (Some(root), None) => Ok(root),
    }
}

fn begin(
    open: &mut Vec<Element>,
    root: &Option<Element>,
    count: &mut usize,
    name: &str,
) -> Result<(), String> {
    *count += 1;
    if *count > MAX_ELEMENTS {
        return Err(format!("more than {MAX_ELEMENTS} elements"));
    }
    if open.len() >= MAX_DEPTH {
        return Err(format!("more than {MAX_DEPTH} elements inside each other"));
    }
    if root.is_some() {
        return Err("a second element at the top".into());
    }
    open.push(Element::new(name));
    Ok(())
}

fn end(open: &mut Vec<Element>, root: &mut Option<Element>) {
    let Some(mut done) = open.pop() else { return };
    let trimmed = done.text.trim();
    if trimmed.len() != done.text.len() {
        done.text = trimmed.to_owned();
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None => *root = Some(done),
    }
}

fn append(open: &mut [Element], text: &str) -> Result<(), String> {
    let Some(element) = open.last_mut() else {
        return if text.trim().is_empty() { Ok(()) } else { Err("text outside of any element".into()) };
    };
    if element.text.len() + text.len() > MAX_TEXT {
        return Err(format!("a text of more than {MAX_TEXT} bytes"));
    }
    element.text.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_matters() {
        let root = parse(
            b"\xef\xbb\xbf<?xml version=\"1.0\"?><!-- c --><a x=\"1\">\n <b>1 &amp; 2&#x21;</b><c/><b>two</b><d><![CDATA[<x>]]></d></a>\n",
        )
        .unwrap();
        assert_eq!((root.text_of("b"), root.text_of("c"), root.text_of("d")), ("1 & 2!", "", "<x>"));
        assert_eq!((root.children.len(), root.text.as_str()), (4, ""));
        assert!(root.child("c").is_some() && root.child("nothing").is_none());
    }

    #[test]
    fn flags() {
        let root = parse(b"<a><y>true</y><n>false</n><e/><w>yes</w></a>").unwrap();
        assert_eq!((root.flag("y"), root.flag("n")), (Ok(Some(true)), Ok(Some(false))));
        assert_eq!((root.flag("e"), root.flag("absent")), (Ok(None), Ok(None)));
        assert!(root.flag("w").unwrap_err().contains("<w> is 'yes'"));
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        let laughs = b"<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;&lol;\">]><a>&lol2;</a>";
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let many = format!("<a>{}</a>", "<b/>".repeat(MAX_ELEMENTS));
        let long = format!("<a>{}</a>", "x".repeat(MAX_TEXT + 1));
        let cases: [(&[u8], &str); 12] = [
            (laughs, "DOCTYPE"),
            (b"<a>&lol;</a>", "entity that XML does not define"),
            (deep.as_bytes(), "inside each other"),
            (many.as_bytes(), "elements"),
            (long.as_bytes(), "text of more than"),
            (b"<a><b></a></b>", "byte"),
            (b"<a><b>", "ends inside <b>"),
            (b"", "no element"),
            (b"hello", "outside of any element"),
            (b"<a/><b/>", "second element"),
            (b"<a>\xff</a>", "not UTF-8"),
            (b"<html><body><p>An error<br>has occurred</body></html>", "byte"),
        ];
        for (document, expected) in cases {
            let error = parse(document).unwrap_err();
            assert!(error.contains(expected) && error.len() < 200, "{error} ({expected})");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_again(texts in proptest::collection::vec("[^\\p{Cc}]{0,20}", 0..6)) {
            let children = texts.iter().map(|t| Element::with_text("item", t.trim()));
            let tree = Element::with("list", children);
            proptest::prop_assert_eq!(parse(tree.to_document().unwrap().as_bytes()), Ok(tree));
        }

        #[test]
        fn no_input_breaks_it(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(format!("<a>{}", String::from_utf8_lossy(&bytes)).as_bytes());
        }
    }
}
