//! What a sandbox may ask of a model. The body is read into these types and written from them
//! again, so whatever is not named here never leaves: no provider plugins, no other models, no
//! addresses that the provider would fetch for a sandbox without internet.
//!
//! Unknown fields are left out, since clients send harmless ones; a known field with a value that
//! is not allowed is refused, since leaving it out would change what was asked.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Most tokens one answer may have.
const MAX_OUTPUT_TOKENS: u32 = 8_000;
/// A token of text has about four bytes.
const BYTES_PER_TOKEN: usize = 4;
/// More than any model charges for one picture, whose bytes say nothing about its cost.
const TOKENS_PER_IMAGE: usize = 5_000;

/// A request as it goes to the provider.
#[derive(Debug)]
pub struct Rebuilt {
    pub body: Vec<u8>,
    pub streamed: bool,
    /// Estimated.
    pub input_tokens: i64,
    /// At most.
    pub output_tokens: i64,
}

/// Rebuilds a body from what is allowed; the error is for the sandbox's eyes only, since it may
/// quote the request.
pub fn rebuild(body: &[u8], model: &str) -> Result<Rebuilt, String> {
    let mut request: Request = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if request.model != model {
        return Err(format!("the only model here is {model}"));
    }
    request.n = 1;
    request.stream_options = request.stream.then_some(StreamOptions {
        include_usage: true,
    });
    for limit in [&mut request.max_tokens, &mut request.max_completion_tokens] {
        *limit = limit.map(|tokens| tokens.min(MAX_OUTPUT_TOKENS));
    }
    let output_tokens = match request.max_tokens.max(request.max_completion_tokens) {
        Some(tokens) => tokens,
        None => *request.max_tokens.insert(MAX_OUTPUT_TOKENS),
    };
    let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
    let (images, image_bytes) = request.images();
    let input_tokens = (body.len() - image_bytes) / BYTES_PER_TOKEN + images * TOKENS_PER_IMAGE;
    Ok(Rebuilt {
        streamed: request.stream,
        input_tokens: input_tokens as i64,
        output_tokens: output_tokens.into(),
        body,
    })
}

#[derive(Deserialize, Serialize)]
struct Request {
    model: String,
    messages: Vec<Message>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Vec<Tool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<ToolChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop: Option<Stop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(default)]
    stream: bool,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_deserializing)]
    n: u8,
}

#[derive(Serialize)]
struct StreamOptions {
    /// Without it a stream ends without saying what it cost.
    include_usage: bool,
}

#[derive(Deserialize, Serialize)]
struct Message {
    role: Role,
    /// Written even when null, as servers expect beside `tool_calls`.
    content: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<ToolCall>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    // What a model thought before, which some want to see again.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_details: Option<Vec<ReasoningDetail>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

#[derive(Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "content must be text, or parts of text and of images as data: addresses"
)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: Image },
}

#[derive(Deserialize, Serialize)]
struct Image {
    url: DataUrl,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
}

/// The picture itself. Any other address the provider would fetch, for a sandbox that may not.
#[derive(Deserialize, Serialize)]
#[serde(try_from = "String")]
struct DataUrl(String);

impl TryFrom<String> for DataUrl {
    type Error = &'static str;

    fn try_from(url: String) -> Result<Self, Self::Error> {
        match url.starts_with("data:image/") {
            true => Ok(Self(url)),
            false => Err("an image must be given as a data: address"),
        }
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Detail {
    Auto,
    Low,
    High,
}

#[derive(Deserialize, Serialize)]
struct ReasoningDetail {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct ToolCall {
    id: String,
    r#type: ToolKind,
    function: CalledFunction,
}

#[derive(Deserialize, Serialize)]
struct CalledFunction {
    name: String,
    arguments: String,
}

#[derive(Deserialize, Serialize)]
struct Tool {
    r#type: ToolKind,
    function: Function,
}

/// Only tools that the sandbox itself runs; providers have others, run and billed by them.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum ToolKind {
    Function,
}

#[derive(Deserialize, Serialize)]
struct Function {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// A JSON schema, passed on as it stands: a provider caches requests that begin alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Deserialize, Serialize)]
#[serde(
    untagged,
    expecting = "tool_choice must be auto, none, required or a function"
)]
enum ToolChoice {
    Mode(ToolMode),
    Named {
        r#type: ToolKind,
        function: FunctionName,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum ToolMode {
    Auto,
    None,
    Required,
}

#[derive(Deserialize, Serialize)]
struct FunctionName {
    name: String,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged, expecting = "stop must be text or a list of texts")]
enum Stop {
    One(String),
    Some(Vec<String>),
}

#[derive(Deserialize, Serialize)]
struct ResponseFormat {
    r#type: Format,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<Box<RawValue>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    Text,
    JsonObject,
    JsonSchema,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
}

impl Request {
    /// How many images there are, and their bytes.
    fn images(&self) -> (usize, usize) {
        let contents = self
            .messages
            .iter()
            .filter_map(|message| message.content.as_ref());
        let parts = contents.flat_map(|content| match content {
            Content::Parts(parts) => parts.as_slice(),
            Content::Text(_) => &[],
        });
        let sizes = parts.filter_map(|part| match part {
            Part::ImageUrl { image_url } => Some(image_url.url.0.len()),
            Part::Text { .. } => None,
        });
        sizes.fold((0, 0), |(count, bytes), size| (count + 1, bytes + size))
    }
}
