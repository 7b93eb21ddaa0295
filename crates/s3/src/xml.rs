//! The little XML that S3 needs: a writer that keeps every key intact, a reader for request bodies.

use crate::error::{S3Error, S3Result};
use bytes::Bytes;
use millpond_service::limits::{XML_DEPTH_MAX, XML_ELEMENTS_MAX};
use quick_xml::events::Event;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// Builds one document with one root element.
pub(crate) struct Writer {
    out: String,
    root: &'static str,
}

impl Writer {
    /// Root element in the S3 namespace.
    pub fn new(root: &'static str) -> Self {
        let mut writer = Self::plain(root);
        writer.out.pop();
        writer.out.push_str(" xmlns=\"");
        writer.out.push_str(NAMESPACE);
        writer.out.push_str("\">");
        writer
    }
    /// Root element without a namespace (errors).
    pub fn plain(root: &'static str) -> Self {
        let mut out = String::with_capacity(512);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<");
        out.push_str(root);
        out.push('>');
        Self { out, root }
    }
    /// `<name>text</name>`.
    pub fn leaf(&mut self, name: &str, text: &str) -> &mut Self {
        self.open(name);
        escape(text, &mut self.out);
        self.close(name)
    }
    /// Text directly in the root element.
    pub fn text(&mut self, text: &str) -> &mut Self {
        escape(text, &mut self.out);
        self
    }
    /// A number or boolean.
    pub fn value(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Self {
        self.leaf(name, &value.to_string())
    }
    /// `<name>`.
    pub fn open(&mut self, name: &str) -> &mut Self {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
        self
    }
    /// Markup made of literals only.
    pub fn literal(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }
    /// `</name>`.
    pub fn close(&mut self, name: &str) -> &mut Self {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
        self
    }
    /// Closes the root.
    pub fn finish(mut self) -> Bytes {
        self.close(self.root);
        self.out.into()
    }
}

/// Parsers turn a raw CR into LF and may trim white space, which would change a key: control
/// characters go out as references, as S3 does (even those XML 1.0 forbids).
fn escape(text: &str, out: &mut String) {
    // Nearly every text goes out as it is.
    let is_special = |byte: u8| matches!(byte, b'&' | b'<' | b'>' | b'"' | 0x7f) || byte < 0x20;
    if !text.bytes().any(is_special) {
        return out.push_str(text);
    }
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => {
                out.push_str("&#");
                out.push_str(&u32::from(c).to_string());
                out.push(';');
            }
            c => out.push(c),
        }
    }
}

/// One element of a request document.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// The text of the first child of that name.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.children.iter().find(|c| c.name == name).map(|c| c.text.as_str())
    }
}

/// Parses a request document whose root must be `root`; namespaces are not looked at.
pub(crate) fn parse(bytes: &[u8], root: &str) -> S3Result<Element> {
    let bad =
        || S3Error::malformed_xml("the XML you sent is not well-formed or is not the document expected");
    let text = std::str::from_utf8(bytes).map_err(|_| bad())?;
    let mut reader = quick_xml::Reader::from_str(text);
    let mut stack: Vec<Element> = vec![Element::default()];
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| bad())?;
        elements += usize::from(matches!(event, Event::Start(_) | Event::Empty(_)));
        if elements > XML_ELEMENTS_MAX {
            return Err(bad());
        }
        match event {
            Event::Start(start) => {
                if stack.len() > XML_DEPTH_MAX {
                    return Err(bad());
                }
                stack.push(Element { name: name(start.local_name().as_ref()), ..Element::default() });
            }
            Event::Empty(start) => {
                let child = Element { name: name(start.local_name().as_ref()), ..Element::default() };
                stack.last_mut().ok_or_else(bad)?.children.push(child);
            }
            Event::End(_) => {
                let done = stack.pop().ok_or_else(bad)?;
                stack.last_mut().ok_or_else(bad)?.children.push(done);
            }
            Event::Text(part) => {
                let part = part.decode().map_err(|_| bad())?;
                // Before quick-xml hands text over, the XML rule applies: CR LF and a lone CR mean LF.
                let part = part.replace("\r\n", "\n").replace('\r', "\n");
                stack.last_mut().ok_or_else(bad)?.text.push_str(&part);
            }
            Event::CData(part) => {
                let part = part.decode().map_err(|_| bad())?;
                stack.last_mut().ok_or_else(bad)?.text.push_str(&part);
            }
            Event::GeneralRef(reference) => {
                let name = reference.decode().map_err(|_| bad())?;
                let c = match (name.as_ref(), reference.resolve_char_ref()) {
                    // XML forbids it, and listings have to show keys with a NUL all the same.
                    ("#0" | "#x0", _) => '\0',
                    (_, Ok(Some(c))) => c,
                    ("lt", _) => '<',
                    ("gt", _) => '>',
                    ("amp", _) => '&',
                    ("apos", _) => '\'',
                    ("quot", _) => '"',
                    _ => return Err(bad()),
                };
                stack.last_mut().ok_or_else(bad)?.text.push(c);
            }
            Event::DocType(_) => return Err(bad()),
            Event::Eof => break,
            _ => {}
        }
    }
    let document = stack.pop().filter(|_| stack.is_empty()).ok_or_else(bad)?;
    let mut roots = document.children.into_iter();
    match (roots.next(), roots.next()) {
        (Some(element), None) if element.name == root => Ok(element),
        _ => Err(bad()),
    }
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_reading() {
        let text = "<?xml version=\"1.0\"?><Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>\
                    <Object><Key>main/a &amp;&#13;&#x41;<![CDATA[<b>]]> </Key></Object><Object><Key/></Object></Delete>";
        let root = parse(text.as_bytes(), "Delete").expect("parses");
        assert_eq!(root.child_text("Quiet"), Some("true"));
        assert_eq!(root.children[1].child_text("Key"), Some("main/a &\rA<b> "));
        assert_eq!(root.children[2].child_text("Key"), Some(""));
    }

    #[test]
    fn what_is_not_the_document_is_refused() {
        let deep = "<Delete>".repeat(100_000);
        let wide = |count: usize| format!("<Delete>{}</Delete>", "<a/>".repeat(count));
        assert!(parse(wide(XML_ELEMENTS_MAX - 1).as_bytes(), "Delete").is_ok());
        assert!(parse(wide(XML_ELEMENTS_MAX).as_bytes(), "Delete").is_err());
        for text in [
            "",
            "<Delete>",
            "<Other/>",
            "<Delete/><Delete/>",
            "<Delete>&x;</Delete>",
            "no",
            &deep,
            "<!DOCTYPE x [<!ENTITY a \"b\">]><Delete/>",
            "</Delete>",
        ] {
            assert!(parse(text.as_bytes(), "Delete").is_err(), "{:.40}", text);
        }
        assert!(parse(b"<Delete>\xff</Delete>", "Delete").is_err());
    }

    #[test]
    fn fuzz_documents() {
        let seeds = [
            "<Delete><Quiet>true</Quiet><Object><Key>main/a &amp;&#x41;<![CDATA[<b>]]></Key></Object></Delete>",
            "<?xml version=\"1.0\"?><CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Part>\
             <PartNumber>1</PartNumber><ETag>\"a\"</ETag></Part></CompleteMultipartUpload>",
        ];
        let words = [
            "<Delete>",
            "</Delete>",
            "<Key/>",
            "&lt;",
            "&#0;",
            "&#x10ffff;",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<!DOCTYPE ",
        ];
        let seeds = seeds.map(|text| text.as_bytes().to_vec()).to_vec();
        millpond_testkit::fuzz::Fuzz { name: "xml", seeds, words: &words }.run(|input| {
            fn depth(element: &Element) -> usize {
                1 + element.children.iter().map(depth).max().unwrap_or(0)
            }
            fn text(element: &Element) -> usize {
                element.text.len() + element.children.iter().map(text).sum::<usize>()
            }
            match parse(input, "Delete") {
                Ok(root) => {
                    assert!(depth(&root) <= XML_DEPTH_MAX, "{}", depth(&root));
                    assert!(text(&root) <= input.len(), "nothing expands");
                    let mut xml = Writer::new("Delete");
                    xml.text(&root.text);
                    assert_eq!(parse(&xml.finish(), "Delete").expect("written").text, root.text);
                    format!("{} {}", depth(&root), root.children.len().min(5))
                }
                Err(error) => error.message,
            }
        });
    }

    #[test]
    fn written_text_reads_back() {
        let key = "a<&>\"'\r\n\t b \0\u{1}é\u{1F600} ";
        let mut xml = Writer::new("R");
        xml.leaf("Key", key);
        let root = parse(&xml.finish(), "R").expect("parses");
        assert_eq!(root.child_text("Key"), Some(key));
    }
}
