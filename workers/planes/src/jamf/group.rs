//! `<computer_group>` of the Classic API: its members, and how computers join a static one. Pure.

use std::collections::BTreeMap;

use super::xml::Element;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: u32,
    pub name: String,
    /// Its members are computed by Jamf Pro; nobody can join.
    pub smart: bool,
    /// Names of members, by computer id.
    pub members: BTreeMap<u64, String>,
}

/// Reads the answer to `GET computergroups/id/{id}`.
pub fn read(root: &Element) -> Result<Group, String> {
    if &*root.name != "computer_group" {
        let name = crate::redact::one_line(&root.name, 40);
        return Err(format!("<{name}> where <computer_group> was expected"));
    }
    let id = root.text_of("id").parse().map_err(|_| "<id> is not a number")?;
    let smart = root.flag("is_smart")?.ok_or("no <is_smart>")?;
    let listed = root.child("computers").ok_or("no <computers>: who is a member is not known")?;
    let mut members = BTreeMap::new();
    for computer in listed.children.iter().filter(|c| &*c.name == "computer") {
        let id = computer.text_of("id");
        let id =
            id.parse().map_err(|_| format!("a member with the id '{}'", crate::redact::one_line(id, 40)))?;
        members.insert(id, crate::redact::one_line(computer.text_of("name"), 80));
    }
    Ok(Group { id, name: crate::redact::one_line(root.text_of("name"), 80), smart, members })
}

/// What makes these computers join; who is a member already stays.
pub fn additions(computers: &[u64]) -> Element {
    let item = |id: &u64| Element::with("computer", [Element::with_text("id", id.to_string())]);
    Element::with("computer_group", [Element::with("computer_additions", computers.iter().map(item))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jamf::xml;

    fn parse(document: &[u8]) -> Result<Group, String> {
        read(&xml::parse(document).unwrap())
    }

    #[test]
    fn members() {
        let group = parse(
            b"<computer_group><id>5</id><name>Failing\xe2\x80\xae</name><is_smart>true</is_smart><computers><size>2</size>\
              <computer><id>12</id><name>Mac 12</name></computer><computer><id>3</id></computer></computers></computer_group>",
        )
        .unwrap();
        assert_eq!((group.id, group.name.as_str(), group.smart), (5, "Failing", true));
        assert_eq!(group.members, [(3, String::new()), (12, "Mac 12".into())].into());
    }

    #[test]
    fn what_is_not_known_is_not_empty() {
        for (document, expected) in [
            ("<computer_group><id>5</id><is_smart>false</is_smart></computer_group>", "no <computers>"),
            ("<computer_group><id>5</id><computers/></computer_group>", "no <is_smart>"),
            ("<computer_group><id>x</id><is_smart>true</is_smart><computers/></computer_group>", "<id>"),
            (
                "<computer_group><id>5</id><is_smart>true</is_smart><computers><computer/></computers></computer_group>",
                "a member with the id ''",
            ),
            ("<policy/>", "where <computer_group> was expected"),
        ] {
            let error = parse(document.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_delta_names_only_who_joins() {
        let text = additions(&[3, 12]).to_document().unwrap();
        let expected = "<computer_group><computer_additions><computer><id>3</id></computer><computer><id>12</id></computer></computer_additions></computer_group>";
        assert!(text.ends_with(expected), "{text}");
    }
}
