//! What assistants ask to be sent, and what that becomes.

use crate::whatsapp::{
    answer::{MAX_CAPTION_CHARS, Part, read},
    media::Kind,
    outgoing::Outgoing,
};

fn parts(answer: &str) -> Vec<Part> {
    read(answer, "Please choose:")
}

fn text(body: &str) -> Part {
    Part::Ready(Outgoing::text(body))
}

#[test]
fn words_stay_words_and_lines_between_them_are_sent_in_order() {
    let answer =
        "Here is **the plan**.\n[Send photo: files/plan.png | *Monday*]\nSee you!\n[React: 👍]";
    let photo = Part::File {
        wish: Kind::Image,
        path: "files/plan.png".to_owned(),
        caption: Some("_Monday_".to_owned()),
    };
    let expected = [
        text("Here is *the plan*."),
        photo,
        text("See you!"),
        Part::Reaction("👍".to_owned()),
    ];
    assert_eq!(parts(answer), expected);
}

#[test]
fn a_template_is_asked_for_by_a_name_such_as_meta_has() {
    let template = |name: &str| Part::Template(name.to_owned());
    assert_eq!(
        parts("Pay day!\n[Template: pay_day]"),
        [text("Pay day!"), template("pay_day")]
    );
    for words in ["[Template: Pay day]", "[Template: ]", "[Template: a | b]"] {
        assert_eq!(parts(words), [text(words)]);
    }
}

#[test]
fn a_caption_that_cannot_stand_below_its_file_is_said_by_itself() {
    let file = |wish, caption: Option<&str>| Part::File {
        wish,
        path: "a".to_owned(),
        caption: caption.map(str::to_owned),
    };
    assert_eq!(
        parts("[Send voice: a | Listen]"),
        [file(Kind::Voice, None), text("Listen")]
    );
    let most = "x".repeat(MAX_CAPTION_CHARS);
    assert_eq!(
        parts(&format!("[Send photo: a | {most}]")),
        [file(Kind::Image, Some(&most))]
    );
    let more = "x".repeat(MAX_CAPTION_CHARS + 1);
    assert_eq!(
        parts(&format!("[Send photo: a | {more}]")),
        [file(Kind::Image, None), text(&more)]
    );
}

#[test]
fn what_whatsapp_takes_nowhere_is_left_out() {
    let answer = "[Buttons: Y\0es | No]";
    assert_eq!(parts(answer), parts("[Buttons: Yes | No]"));
    let answer = "[Link: Open | HTTPS://example.org/a b/ü]";
    let encoded = "[Link: Open | https://example.org/a%20b/%C3%BC]";
    assert_eq!(parts(answer), parts(encoded));
}

#[test]
fn what_is_no_such_line_is_words() {
    let far = format!("[Link: Open | https://example.org/{}]", "x".repeat(2_000));
    assert_eq!(
        parts(&far).len(),
        1,
        "an address of more than WhatsApp takes"
    );
    for words in [
        "[Note: buy milk]",
        "Look at [Send photo: a.png] please",
        "[Send photo: ]",
        "[Send nothing: a.png]",
        "[React: yes]",
        "[Send place: 91, 0]",
        "[Send place: here]",
        "[Link: Open | javascript:alert(1)]",
        "[Buttons: ]",
        "[Buttons: Yes | Yes]",
        "[",
        "[:]",
    ] {
        assert_eq!(parts(words).len(), 1, "{words}");
        assert!(
            matches!(&parts(words)[..], [Part::Ready(Outgoing::Text { .. })]),
            "{words}"
        );
    }
    let code = "```\n[React: 👍]\n```";
    assert_eq!(parts(code), [text(code)]);
    assert_eq!(parts(" \n\n"), []);
}

#[test]
fn a_question_carries_its_buttons_and_more_than_three_are_a_list() {
    let buttons = |body: &str| {
        let titles = vec!["Yes".to_owned(), "No".to_owned()];
        let body = body.to_owned();
        Part::Ready(Outgoing::Buttons { body, titles })
    };
    assert_eq!(
        parts("Shall I?\n[Buttons: Yes | No]"),
        [buttons("Shall I?")]
    );
    assert_eq!(parts("[buttons:Yes|No]"), [buttons("Please choose:")]);
    let long = "word ".repeat(300);
    let long = format!("{long}\n[Buttons: Yes | No]");
    assert!(
        matches!(&parts(&long)[..], [Part::Ready(Outgoing::Text { .. }), last]
        if *last == buttons("Please choose:"))
    );
    let four = parts("Which?\n[Buttons: A | B | C | D]");
    assert!(matches!(&four[..], [Part::Ready(Outgoing::List { rows, .. })] if rows.len() == 4));
    let wordy = "Which?\n[Buttons: this one is much too long for any button | B]";
    assert!(matches!(
        &parts(wordy)[..],
        [Part::Ready(Outgoing::Text { .. })]
    ));
}

#[test]
fn a_list_has_titles_with_a_few_words_each() {
    let answer = "What will it be?\n[List: Tea | Coffee: black, strong | 10:30]";
    let [Part::Ready(Outgoing::List { body, rows })] = &parts(answer)[..] else {
        panic!("no list");
    };
    assert_eq!(body, "What will it be?");
    let rows: Vec<_> = rows
        .iter()
        .map(|row| (row.title.as_str(), row.description.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [
            ("Tea", None),
            ("Coffee", Some("black, strong")),
            ("10:30", None)
        ]
    );
    let eleven = format!("[List: {}]", ["x"; 11].join(" | "));
    assert!(matches!(
        &parts(&eleven)[..],
        [Part::Ready(Outgoing::Text { .. })]
    ));
}

#[test]
fn a_place_a_contact_and_a_link_are_read() {
    let place = Outgoing::Place {
        latitude: 48.2082,
        longitude: 16.3738,
        name: Some("Vienna".to_owned()),
        address: None,
    };
    assert_eq!(
        parts("[Send place: 48.2082, 16.3738 | Vienna]"),
        [Part::Ready(place)]
    );
    let contact = Outgoing::Contact {
        name: "Dr. Huber".to_owned(),
        phones: vec!["+43 1 234567".to_owned()],
        emails: vec!["huber@example.org".to_owned()],
    };
    let asked = "[Send contact: Dr. Huber | +43 1 234567 | huber@example.org]";
    assert_eq!(parts(asked), [Part::Ready(contact)]);
    let link = Outgoing::Link {
        body: "Here it is.".to_owned(),
        title: "Open".to_owned(),
        url: "https://example.org/?a=b:c".to_owned(),
    };
    let asked = "Here it is.\n[Link: Open | https://example.org/?a=b:c]";
    assert_eq!(parts(asked), [Part::Ready(link)]);
}
