//! XML as the simulator reads and writes it: a tree, by quick-xml.

use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::{Reader, Writer};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Node>,
}

pub(crate) fn node(name: &str, children: impl IntoIterator<Item = Node>) -> Node {
    Node { name: name.into(), text: String::new(), children: children.into_iter().collect() }
}

pub(crate) fn leaf(name: &str, text: impl ToString) -> Node {
    Node { name: name.into(), text: text.to_string(), children: Vec::new() }
}

impl Node {
    pub(crate) fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|c| c.name == name)
    }

    pub(crate) fn document(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        // Writing to memory does not fail.
        let _ = writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        let _ = self.write(&mut writer);
        writer.into_inner()
    }

    fn write(&self, writer: &mut Writer<Vec<u8>>) -> std::io::Result<()> {
        if self.text.is_empty() && self.children.is_empty() {
            return writer.write_event(Event::Empty(BytesStart::new(self.name.as_str())));
        }
        writer.write_event(Event::Start(BytesStart::new(self.name.as_str())))?;
        writer.write_event(Event::Text(BytesText::new(&self.text)))?;
        for child in &self.children {
            child.write(writer)?;
        }
        writer.write_event(Event::End(BytesEnd::new(self.name.as_str())))
    }
}

/// Reads a small, plain document: no entities of its own, at most ten levels.
pub(crate) fn parse(bytes: &[u8]) -> Option<Node> {
    let mut reader = Reader::from_str(std::str::from_utf8(bytes).ok()?);
    let mut open = vec![Node::default()];
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) if open.len() <= 10 => open.push(node(start.name().0, [])),
            Event::Empty(start) if open.len() <= 10 => {
                open.last_mut()?.children.push(node(start.name().0, []));
            }
            Event::End(_) => {
                let mut done = open.pop()?;
                done.text = done.text.trim().to_owned();
                open.last_mut()?.children.push(done);
            }
            Event::Text(text) => open.last_mut()?.text.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let text = match name.resolve_char_ref().ok()? {
                    Some(c) => c.to_string(),
                    None => quick_xml::escape::resolve_xml_entity(&name.xml10_content())?.to_owned(),
                };
                open.last_mut()?.text.push_str(&text);
            }
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Eof => break,
            _ => return None,
        }
    }
    let (mut root, None) = (open.pop()?, open.pop()) else { return None };
    if root.children.len() == 1 && root.text.trim().is_empty() { root.children.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let tree = node("a", [leaf("b", "1 < 2 & 3"), node("c", [])]);
        assert_eq!(parse(&tree.document()), Some(tree));
        for wrong in ["", "x", "<a/><b/>", "<a>", "<a></b>", "<!DOCTYPE a><a/>", "<a>&x;</a>"] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
