//! What a member of a group says: to their assistant, to each other, and where it is not served.

use serde_json::{Value, json};

use super::{
    form::Form,
    people::{Expected, Known},
    run::{Run, line_of},
    shape::{Lack, Shape, Shapes, Someone},
    table::Line,
};

/// The others are served by nobody.
const SERVED: &str = "120363041234567890@g.us";

impl Run {
    pub async fn groups(&mut self, shapes: &Shapes) -> Vec<Line> {
        self.desk.routing.policy.groups = SERVED.parse().unwrap();
        let mut lines: Vec<_> = shapes.groups.iter().map(line_of).collect();
        for form in Form::ALL {
            for lack in Lack::ALL {
                for (shape, line) in shapes.groups.iter().zip(&mut lines) {
                    let is_right = self.group(shape, form, lack).await;
                    line.count(form, is_right);
                }
            }
        }
        lines
    }

    async fn group(&mut self, shape: &Shape, form: Form, lack: Lack) -> bool {
        let id = self.id();
        let member = Known {
            form,
            lack,
            number: 0,
            someone: Someone::who_lacks(lack, 0),
            tenant: None,
            said: String::new(),
            wrote: String::new(),
        };
        self.post(&form.message(&member.someone, &id, &shape.item))
            .await;
        let mut expected = Expected::of(shape, &member);
        let name = json!(member.someone.name);
        expected.reads = expected.reads.map(|words| format!("{name}: {words}"));
        let row = self.row(&id).await;
        let mut found = Expected::ending(&row.event, &row.outcome);
        if let Some(group) = row.tenant {
            let asked = self.asks(group).await.text();
            found.reads = Some(as_said(&asked));
        }
        self.judge(&shape.shape, &member, &expected, &found)
    }
}

/// Who is said to have written, and what.
fn as_said(asked: &str) -> String {
    let (_, said) = asked.split_once("\n\n").unwrap();
    let (speaker, words) = said.split_once('\n').unwrap();
    let speaker: Value = serde_json::from_str(speaker).unwrap();
    assert_eq!(speaker["group"], SERVED);
    assert!(speaker["member"].is_string(), "{speaker}");
    let words: Vec<_> = words
        .lines()
        .map(|line| line.strip_prefix("> ").unwrap())
        .collect();
    format!("{}: {}", speaker["name"], words.join("\n"))
}
