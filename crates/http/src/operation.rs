//! What an operation is: a row of the tables in [`crate::table`]. The same row routes a request,
//! validates it, and describes it in `/openapi.json`.

use crate::call::Call;
use crate::error::Handled;
use crate::schema::Type;
use axum::response::Response;
use millpond_service::Guard;
use std::pin::Pin;

/// The methods that operations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    /// The verb of a method; `None` for those that no operation uses.
    pub fn of(method: &http::Method) -> Option<Self> {
        Some(match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            _ => return None,
        })
    }
    /// Lower case, as OpenAPI spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Post => "post",
            Self::Put => "put",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Where a parameter stands. Parameters of the path that may be any text need no declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter may hold.
#[derive(Clone, Copy)]
pub enum Takes {
    /// Any text; whether it may be empty, and its most bytes.
    Text {
        /// Whether `name=` is allowed.
        empty: bool,
        /// In bytes.
        bytes_max: usize,
    },
    /// A list of non-empty texts: the parameter may be repeated.
    Texts,
    /// An integer within bounds (inclusive).
    Integer(i64, i64),
    /// True or false.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// An RFC 3339 instant.
    Instant,
    /// A text with a rule: its regular expression for the document, and the same as code.
    Pattern(&'static str, fn(&str) -> bool),
}

/// One declared parameter.
#[derive(Clone, Copy)]
pub struct Parameter {
    /// As on the wire.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Whether it must be there.
    pub required: bool,
    /// What it may hold.
    pub takes: Takes,
}

/// What request body an operation takes.
pub enum Payload {
    /// None; what is sent is ignored.
    None,
    /// JSON of this type.
    Json(Type),
    /// JSON of this type, or nothing.
    OptionalJson(Type),
    /// An object's bytes, or a form that holds them; the handler reads it.
    Object,
}

/// Which API an operation belongs to; decides its base path and the shape of its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/api/v1`.
    LakeFs,
    /// `/api/millpond/v1`.
    Millpond,
}

impl Api {
    /// The base path.
    pub fn base(self) -> &'static str {
        match self {
            Self::LakeFs => "/api/v1",
            Self::Millpond => "/api/millpond/v1",
        }
    }
}

/// The function behind an operation.
pub type Run = fn(Call) -> Pin<Box<dyn Future<Output = Handled<Response>> + Send>>;

/// One row of a table.
pub struct Operation {
    /// Its API.
    pub api: Api,
    /// Its method.
    pub verb: Verb,
    /// Below the base, with parameters in braces.
    pub path: &'static str,
    /// `operationId`.
    pub id: &'static str,
    /// Subject, for the document.
    pub tag: &'static str,
    /// Declared parameters.
    pub parameters: &'static [Parameter],
    /// Its request body.
    pub payload: Payload,
    /// Status and body of success.
    pub answer: (u16, Option<Type>),
    /// Who may call it.
    pub guard: Guard,
    /// The function.
    pub run: Run,
}

impl Operation {
    /// A row of the lakeFS-compatible API; it takes nothing and answers 204.
    pub const fn new(
        verb: Verb,
        path: &'static str,
        tag: &'static str,
        id: &'static str,
        guard: Guard,
        run: Run,
    ) -> Self {
        Self {
            api: Api::LakeFs,
            verb,
            path,
            id,
            tag,
            parameters: &[],
            payload: Payload::None,
            answer: (204, None),
            guard,
            run,
        }
    }
    /// As a row of our own API.
    pub const fn ours(mut self) -> Self {
        self.api = Api::Millpond;
        self
    }
    /// With parameters.
    pub const fn with(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }
    /// With a JSON body.
    pub const fn json(mut self, holds: Type) -> Self {
        self.payload = Payload::Json(holds);
        self
    }
    /// With a JSON body that may be left out.
    pub const fn optional_json(mut self, holds: Type) -> Self {
        self.payload = Payload::OptionalJson(holds);
        self
    }
    /// With an object as its body.
    pub const fn object(mut self) -> Self {
        self.payload = Payload::Object;
        self
    }
    /// Answering with a body.
    pub const fn gives(mut self, status: u16, holds: Type) -> Self {
        self.answer = (status, Some(holds));
        self
    }
    /// Answering without a body.
    pub const fn status(mut self, status: u16) -> Self {
        self.answer = (status, None);
        self
    }
    /// The names of the parameters in the path, in order.
    pub fn path_names(&self) -> impl Iterator<Item = &'static str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }
}
