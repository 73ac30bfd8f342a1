//! What a server says of each instance: the Store Instances Response Module (PS3.18 I.2), in JSON or in XML.
//!
//! Which of the two it is, the text itself tells: servers call it by several content types, and an HTML page is neither.
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

use crate::dicom::Status;

/// The sequences of the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Payload {
    /// Referenced SOP Sequence (0008,1199): what is stored.
    pub(super) stored: Vec<Entry>,
    /// Failed SOP Sequence (0008,1198).
    pub(super) failed: Vec<Entry>,
    /// Other Failures Sequence (0008,119A): reasons without an instance.
    pub(super) other: Vec<Entry>,
}

/// An item of a sequence.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Referenced SOP Instance UID (0008,1155).
    pub(super) sop_instance: String,
    /// Failure Reason (0008,1197) or Warning Reason (0008,1196).
    pub(super) reason: Option<Status>,
}

/// Why a text is not such a module.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    /// Neither of the two.
    #[error("is neither DICOM JSON nor DICOM XML")]
    Neither,
    /// A page for people: most often a login, or a proxy's own words.
    #[error("is an HTML page, as a login or a proxy shows it")]
    Page,
    /// Compressed, though nobody asked for that.
    #[error("is compressed with gzip, which was not asked for")]
    Compressed,
    /// Begins like JSON.
    #[error("is not the JSON of a data set")]
    Json,
    /// Begins like XML.
    #[error("is not the XML of a data set")]
    Xml,
}

/// Whether it begins as HTML does.
fn is_page(body: &[u8]) -> bool {
    ["<!doctype html", "<html"].iter().any(|start| {
        body.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
    })
}

const REFERENCED: &str = "00081199";
const FAILED: &str = "00081198";
const OTHER: &str = "0008119A";
const SOP_INSTANCE: &str = "00081155";
const FAILURE_REASON: &str = "00081197";
const WARNING_REASON: &str = "00081196";

impl Payload {
    /// Reads the body of an answer, which must not be long: what is made of it takes some ten times as much memory.
    ///
    /// # Errors
    /// [`PayloadError`]
    pub(super) fn read(body: &[u8]) -> Result<Self, PayloadError> {
        let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
        match body.first() {
            Some(b'{' | b'[') => json(body),
            Some(b'<') if is_page(body) => Err(PayloadError::Page),
            Some(b'<') => xml(body),
            Some(0x1F) if body.get(1) == Some(&0x8B) => Err(PayloadError::Compressed),
            _ => Err(PayloadError::Neither),
        }
    }

    fn list(&mut self, tag: &str) -> Option<&mut Vec<Entry>> {
        match tag {
            REFERENCED => Some(&mut self.stored),
            FAILED => Some(&mut self.failed),
            _ if tag.eq_ignore_ascii_case(OTHER) => Some(&mut self.other),
            _ => None,
        }
    }
}

impl Entry {
    fn set(&mut self, tag: &str, value: &str) {
        match tag {
            SOP_INSTANCE => self.sop_instance = value.trim_end_matches(['\0', ' ']).trim_start().to_owned(),
            FAILURE_REASON | WARNING_REASON => self.reason = value.trim().parse().ok().map(Status),
            _ => {}
        }
    }
}

/// The parser goes 128 levels deep and no further.
fn json(body: &[u8]) -> Result<Payload, PayloadError> {
    let value: Value = serde_json::from_slice(body).map_err(|_| PayloadError::Json)?;
    let data_sets = match &value {
        Value::Array(several) => several.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut payload = Payload::default();
    for data_set in data_sets {
        for (tag, element) in data_set.as_object().ok_or(PayloadError::Json)? {
            let Some(list) = payload.list(tag) else { continue };
            list.extend(values(element).iter().map(entry));
        }
    }
    Ok(payload)
}

fn values(element: &Value) -> &[Value] {
    element.get("Value").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entry(item: &Value) -> Entry {
    let mut entry = Entry::default();
    for tag in [SOP_INSTANCE, FAILURE_REASON, WARNING_REASON] {
        match item.get(tag).and_then(|element| values(element).first()) {
            Some(Value::String(text)) => entry.set(tag, text),
            Some(Value::Number(number)) => entry.set(tag, &number.to_string()),
            _ => {}
        }
    }
    entry
}

/// The Native DICOM Model (PS3.19 A.1). Nothing is expanded or fetched, and depth is only counted.
fn xml(body: &[u8]) -> Result<Payload, PayloadError> {
    let mut reader = Reader::from_reader(body);
    let mut walk = XmlWalk::default();
    loop {
        match reader.read_event().map_err(|_| PayloadError::Xml)? {
            Event::Start(element) => walk.begins(&element)?,
            Event::End(element) => walk.ends(element.local_name().as_ref()),
            Event::Empty(_) if walk.open == 0 => return Err(PayloadError::Xml),
            Event::Text(text) if walk.is_in_value => {
                walk.text.push_str(&text.decode().map_err(|_| PayloadError::Xml)?);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if walk.is_begun && walk.open == 0 { Ok(walk.payload) } else { Err(PayloadError::Xml) }
}

#[derive(Default)]
struct XmlWalk {
    payload: Payload,
    is_begun: bool,
    /// Elements that are open.
    open: u32,
    /// Attributes among them: 1 is an attribute of the answer, 2 one of an item of a sequence.
    attributes: u32,
    sequence: String,
    field: String,
    item: Entry,
    text: String,
    is_in_value: bool,
}

impl XmlWalk {
    fn begins(&mut self, element: &BytesStart<'_>) -> Result<(), PayloadError> {
        let name = element.local_name();
        if self.open == 0 {
            if self.is_begun || name.as_ref() != b"NativeDicomModel" {
                return Err(PayloadError::Xml);
            }
            self.is_begun = true;
        }
        self.open += 1;
        match name.as_ref() {
            b"DicomAttribute" => {
                self.attributes += 1;
                let tag = element.try_get_attribute("tag").map_err(|_| PayloadError::Xml)?;
                let tag = tag.map(|tag| String::from_utf8_lossy(&tag.value).into_owned()).unwrap_or_default();
                match self.attributes {
                    1 => self.sequence = tag,
                    2 => self.field = tag,
                    _ => {}
                }
            }
            b"Item" if self.attributes == 1 => self.item = Entry::default(),
            b"Value" if self.attributes == 2 => {
                self.text.clear();
                self.is_in_value = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn ends(&mut self, name: &[u8]) {
        self.open = self.open.saturating_sub(1);
        match name {
            b"DicomAttribute" => self.attributes = self.attributes.saturating_sub(1),
            b"Item" if self.attributes == 1 => {
                let item = std::mem::take(&mut self.item);
                if let Some(list) = self.payload.list(&self.sequence) {
                    list.push(item);
                }
            }
            b"Value" if self.is_in_value => {
                self.is_in_value = false;
                self.item.set(&self.field, &self.text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, Payload, PayloadError};
    use crate::dicom::Status;

    fn entry(sop_instance: &str, reason: Option<u16>) -> Entry {
        Entry { sop_instance: sop_instance.into(), reason: reason.map(Status) }
    }

    const JSON: &str = r#"{
        "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
        "00081190": {"vr": "UR", "Value": ["http://archive/studies/1"]},
        "00081198": {"vr": "SQ", "Value": [
            {"00081155": {"vr": "UI", "Value": ["1.2.3"]}, "00081197": {"vr": "US", "Value": [42752]}},
            {"00081155": {"vr": "UI", "Value": ["1.2.4"]}, "00081197": {"vr": "US", "Value": ["49442"]}}]},
        "00081199": {"vr": "SQ", "Value": [
            {"00081155": {"vr": "UI", "Value": ["1.2.5 "]}, "00081196": {"vr": "US", "Value": [45056]}},
            {"00081150": {"vr": "UI", "Value": ["1"]}, "00081155": {"vr": "UI", "Value": ["1.2.6"]}}]},
        "0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}
    }"#;

    const XML: &str = r#"<?xml version="1.0" encoding="utf-8"?>
        <NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
          <DicomAttribute tag="00080005" vr="CS"><Value number="1">ISO_IR 100</Value></DicomAttribute>
          <DicomAttribute tag="00081198" vr="SQ">
            <Item number="1">
              <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.3</Value></DicomAttribute>
              <DicomAttribute tag="00081197" vr="US"><Value number="1">42752</Value></DicomAttribute>
            </Item>
            <Item number="2">
              <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.4</Value></DicomAttribute>
              <DicomAttribute tag="00081197" vr="US"><Value number="1">49442</Value></DicomAttribute>
            </Item>
          </DicomAttribute>
          <DicomAttribute tag="00081199" vr="SQ">
            <Item number="1">
              <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.5</Value></DicomAttribute>
              <DicomAttribute tag="00081196" vr="US"><Value number="1">45056</Value></DicomAttribute>
            </Item>
            <Item number="2">
              <DicomAttribute tag="00081150" vr="UI"><Value number="1">1</Value></DicomAttribute>
              <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.2.6</Value></DicomAttribute>
            </Item>
          </DicomAttribute>
          <DicomAttribute tag="0008119A" vr="SQ"><Item number="1">
              <DicomAttribute tag="00081197" vr="US"><Value number="1">272</Value></DicomAttribute></Item>
          </DicomAttribute>
        </NativeDicomModel>"#;

    #[test]
    fn json_and_xml_say_the_same() {
        let expected = Payload {
            stored: vec![entry("1.2.5", Some(0xB000)), entry("1.2.6", None)],
            failed: vec![entry("1.2.3", Some(0xA700)), entry("1.2.4", Some(0xC122))],
            other: vec![entry("", Some(0x0110))],
        };
        assert_eq!(Payload::read(JSON.as_bytes()).unwrap(), expected);
        assert_eq!(Payload::read(format!("\u{FEFF}[{JSON}]").as_bytes()).unwrap(), expected);
        assert_eq!(Payload::read(XML.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn an_answer_may_be_without_items() {
        for text in [
            "{}",
            "[]",
            r#"{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ"}}"#,
            "<NativeDicomModel><DicomAttribute tag=\"00081199\" vr=\"SQ\"/></NativeDicomModel>",
        ] {
            assert_eq!(Payload::read(text.as_bytes()).unwrap(), Payload::default(), "{text}");
        }
    }

    #[test]
    fn what_is_cut_or_no_data_set_at_all_is_an_error() {
        for end in [1, 2, 40, JSON.len() / 2, JSON.len() - 1] {
            assert!(matches!(Payload::read(&JSON.as_bytes()[..end]), Err(PayloadError::Json)), "{end}");
        }
        for end in [1, 40, 100, XML.len() / 2, XML.len() - 1] {
            assert!(matches!(Payload::read(&XML.as_bytes()[..end]), Err(PayloadError::Xml)), "{end}");
        }
        for text in ["", "OK", "<html><body>Login</body></html>", "<a/>", "[1]", "{} {}"] {
            assert!(Payload::read(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn values_of_unexpected_kinds_are_as_good_as_missing() {
        let text = r#"{"00081199": {"Value": [{"00081155": {"Value": [7]}}, {"00081155": 1}, 3, null]},
            "00081198": {"Value": {}}, "0008119A": [],
            "00081197": {"Value": [[1]]}}"#;
        let payload = Payload::read(text.as_bytes()).unwrap();
        assert_eq!(payload.stored, [entry("7", None), entry("", None), entry("", None), entry("", None)]);
        for reason in ["-1", "65536", "1e3", "\"x\"", "null"] {
            let text = format!(r#"{{"00081198": {{"Value": [{{"00081197": {{"Value": [{reason}]}}}}]}}}}"#);
            assert_eq!(Payload::read(text.as_bytes()).unwrap().failed, [entry("", None)], "{reason}");
        }
    }

    #[test]
    fn case_of_depth_nothing_is_followed_too_deep() {
        let json = "[".repeat(100_000);
        assert!(Payload::read(json.as_bytes()).is_err());
        let json = format!("{{\"00081199\": {}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Payload::read(json.as_bytes()).is_err());
        let deep = "<DicomAttribute tag=\"00081199\"><Item>".repeat(20_000);
        let back = "</Item></DicomAttribute>".repeat(20_000);
        let xml = format!("<NativeDicomModel>{deep}{back}</NativeDicomModel>");
        assert_eq!(Payload::read(xml.as_bytes()).unwrap().stored.len(), 1);
        assert!(Payload::read(format!("<NativeDicomModel>{deep}").as_bytes()).is_err());
    }

    #[test]
    fn many_attributes_of_one_element_are_no_work() {
        let many: String = (0..150_000).map(|n| format!(" a{n:x}=''")).collect();
        let xml = format!("<NativeDicomModel><DicomAttribute{many}></DicomAttribute></NativeDicomModel>");
        assert_eq!(Payload::read(xml.as_bytes()).unwrap(), Payload::default());
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            start in "(\\{\"|\\[|<NativeDicomModel>|<|\u{FEFF})?",
            rest in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let _ = Payload::read(&[start.as_bytes(), &rest].concat());
        }
    }

    #[test]
    fn no_entity_of_an_answer_is_expanded() {
        let xml = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><NativeDicomModel>\
            <DicomAttribute tag=\"00081199\"><Item><DicomAttribute tag=\"00081155\"><Value>1&b;2</Value>\
            </DicomAttribute></Item></DicomAttribute></NativeDicomModel>";
        match Payload::read(xml.as_bytes()) {
            Ok(payload) => assert_eq!(payload.stored, [entry("12", None)]),
            Err(error) => assert!(matches!(error, PayloadError::Xml)),
        }
    }
}
