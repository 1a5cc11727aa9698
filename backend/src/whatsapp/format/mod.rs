//! Makes an agent's Markdown readable on WhatsApp, whose own marks are few.
//!
//! Called by `worker/send` before `split`. A real parser finds the structure; `inline` writes one
//! paragraph's marks; `table` lays tables out; `tags` deals with HTML and with OpenClaw's
//! directives. Promises: total, the same for the same input, no NUL in the output, and what is
//! inside code comes out as it went in.
//!
//! WhatsApp knows `*bold*`, `_italic_`, `~strike~`, `` `code` ``, fences without a language, `> `,
//! `- ` and `1. ` (WhatsApp help centre: how to format your messages). There are no headings, named
//! links or tables, no nesting, and no way to escape a mark.

mod inline;
mod table;
mod tags;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeWithOffset};

use inline::{Span, Style};

/// Deeper lists are not indented further: a phone has some 40 columns.
const MAX_INDENT: usize = 3;
const RULE: &str = "———";

pub fn to_whatsapp(markdown: &str) -> String {
    let markdown = markdown.replace('\0', "");
    let markdown = tags::without_leading_directives(&markdown);
    // SUBSCRIPT makes `~x~` an event of its own, so that "5~10 or 15~20" is not struck out.
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_SUBSCRIPT;
    let mut page = Page::default();
    let events = Parser::new_ext(markdown, options).into_offset_iter();
    for (event, range) in TextMergeWithOffset::new(events) {
        page.event(event, &markdown[range]);
    }
    page.end_block();
    page.out.trim_matches('\n').trim_end().to_owned()
}

/// The message so far, and where in the document we are.
#[derive(Default)]
struct Page {
    out: String,
    /// The paragraph, item or cell being read.
    spans: Vec<Span>,
    style: Style,
    links: Vec<Link>,
    quotes: usize,
    lists: Vec<Option<u64>>,
    /// The bullet or number of an item that has not been written yet.
    marker: Option<String>,
    code: Option<String>,
    html: Option<String>,
    table: Option<table::Table>,
    /// Blocks of one list or quote stand close together: is the next one in the same as the last?
    in_group: bool,
}

struct Link {
    url: String,
    /// Where in `spans` its text begins.
    start: usize,
}

impl Page {
    fn event(&mut self, event: Event<'_>, source: &str) {
        match event {
            Event::Start(tag) => self.start(tag, source),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match (&mut self.code, &mut self.html) {
                (Some(code), _) => code.push_str(&text),
                (_, Some(html)) => html.push_str(&text),
                _ => self.text(&tags::without_directives(&text)),
            },
            Event::Code(code) => self.spans.push(Span::code(&code, self.style)),
            Event::Html(html) | Event::InlineHtml(html) => match &mut self.html {
                Some(block) => block.push_str(&html),
                None => self.text(&tags::without_tags(&html)),
            },
            Event::SoftBreak | Event::HardBreak => self.spans.push(Span::line_break()),
            Event::Rule => {
                self.end_block();
                self.write(&[RULE.to_owned()]);
            }
            Event::TaskListMarker(done) => {
                let boxed = if done { "☑ " } else { "☐ " };
                self.spans.push(Span::verbatim(boxed, Style::default()));
            }
            // Not enabled: they come as text.
            Event::FootnoteReference(_) | Event::InlineMath(_) | Event::DisplayMath(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, source: &str) {
        match tag {
            Tag::Emphasis => {
                self.style
                    .italic
                    .open(if source.starts_with('_') { "_" } else { "*" })
            }
            Tag::Strong => self
                .style
                .bold
                .open(if source.starts_with('_') { "__" } else { "**" }),
            Tag::Strikethrough => self.style.strike.open("~~"),
            // Not struck out in Markdown, but an agent may know WhatsApp's own mark.
            Tag::Subscript => self.spans.push(Span::verbatim("~", self.style)),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push(Link {
                    url: dest_url.into_string(),
                    start: self.spans.len(),
                });
            }
            Tag::TableCell => self.spans.clear(),
            _ => self.start_block(tag),
        }
    }

    fn start_block(&mut self, tag: Tag<'_>) {
        self.end_block();
        match tag {
            Tag::Heading { .. } => self.style.bold.open(""),
            Tag::BlockQuote(_) => {
                self.in_group &= self.in_container();
                self.quotes += 1;
            }
            Tag::List(first) => {
                self.in_group &= self.in_container();
                self.lists.push(first);
            }
            Tag::Item => {
                // An item may begin with another item; then its own marker stands alone.
                self.flush_marker();
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        let marker = format!("{number}. ");
                        *number = number.saturating_add(1);
                        marker
                    }
                    _ => "- ".to_owned(),
                });
            }
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.code = Some(String::new());
            }
            Tag::HtmlBlock => self.html = Some(String::new()),
            Tag::Table(_) => self.table = Some(table::Table::default()),
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.rows.push(Vec::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Emphasis => self.style.italic.close(),
            TagEnd::Strong => self.style.bold.close(),
            TagEnd::Strikethrough => self.style.strike.close(),
            TagEnd::Subscript => self.spans.push(Span::verbatim("~", self.style)),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.spans);
                if let Some(row) = self.table.as_mut().and_then(|table| table.rows.last_mut()) {
                    row.push(cell);
                }
            }
            TagEnd::Heading(_) => {
                self.end_block();
                self.style.bold.close();
            }
            TagEnd::CodeBlock => self.end_code(),
            TagEnd::HtmlBlock => {
                let html = self.html.take().unwrap_or_default();
                let shown = tags::without_tags(&html);
                self.text(shown.trim());
                self.end_block();
            }
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    // A fence needs the margin to itself.
                    let alone = !self.in_container();
                    self.write(&if alone { table.lines() } else { table.listed() });
                }
            }
            TagEnd::Item => {
                self.end_block();
                self.flush_marker();
            }
            TagEnd::List(_) => {
                self.end_block();
                self.lists.pop();
                self.in_group &= self.in_container();
            }
            TagEnd::BlockQuote(_) => {
                self.end_block();
                self.quotes = self.quotes.saturating_sub(1);
                self.in_group &= self.in_container();
            }
            _ => self.end_block(),
        }
    }

    /// Plain text, which may hold line breaks when it was HTML.
    fn text(&mut self, text: &str) {
        for (at, line) in text.split('\n').enumerate() {
            if at > 0 {
                self.spans.push(Span::line_break());
            }
            self.spans.push(Span::text(line, self.style));
        }
    }

    /// `[text](url)` → `text (url)`; the address alone if the text says the same, the text alone if
    /// the address leads nowhere outside the page.
    fn end_link(&mut self) {
        let Some(Link { url, start }) = self.links.pop() else {
            return;
        };
        let address = ["mailto:", "tel:"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let address = address.unwrap_or(&url);
        let start = start.min(self.spans.len());
        let label: String = self.spans[start..]
            .iter()
            .map(|span| span.text.as_str())
            .collect();
        let bare = |text: &str| {
            let text = text.trim().trim_end_matches('/');
            let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
            rest.to_lowercase()
        };
        if !address.contains([':', '.', '@', '+'])
            && !address.starts_with(|c: char| c.is_ascii_digit())
        {
            return;
        }
        if label.trim().is_empty() || bare(&label) == bare(address) {
            self.spans.truncate(start);
            self.spans.push(Span::verbatim(address, self.style));
        } else {
            self.spans
                .push(Span::verbatim(&format!(" ({address})"), Style::default()));
        }
    }

    /// Code stands at the margin even in a list or quote: a prefix would become part of it.
    fn end_code(&mut self) {
        let code = self.code.take().unwrap_or_default();
        let code = code.strip_suffix('\n').unwrap_or(&code);
        if code.trim().is_empty() {
            return;
        }
        self.flush_marker();
        self.separate();
        if code.contains("```") {
            // A fence inside a fence would end it: its own fences have to do.
            self.out.push_str(code);
        } else {
            self.out.extend(["```\n", code, "\n```"]);
        }
    }

    fn end_block(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        self.links.clear();
        let lines = inline::lines(&spans);
        if !lines.is_empty() {
            self.write(&lines);
        }
    }

    fn flush_marker(&mut self) {
        if self.marker.is_some() {
            self.write(&[String::new()]);
        }
    }

    fn write(&mut self, lines: &[String]) {
        self.separate();
        let depth = self.lists.len().saturating_sub(1).min(MAX_INDENT);
        let quote = if self.quotes > 0 { "> " } else { "" };
        for (at, line) in lines.iter().enumerate() {
            let marker = self.marker.take().unwrap_or_else(|| {
                if self.lists.is_empty() {
                    String::new()
                } else {
                    "  ".to_owned()
                }
            });
            let line = format!("{quote}{}{marker}{line}", "  ".repeat(depth));
            self.out.push_str(if at > 0 { "\n" } else { "" });
            self.out.push_str(line.trim_end());
        }
    }

    fn separate(&mut self) {
        if !self.out.is_empty() {
            self.out.push_str(if self.in_group { "\n" } else { "\n\n" });
        }
        self.in_group = self.in_container();
    }

    fn in_container(&self) -> bool {
        self.quotes > 0 || !self.lists.is_empty()
    }
}
