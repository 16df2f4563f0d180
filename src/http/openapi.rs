//! The description of the interface, OpenAPI 3.1, made of the routes: what is served is described, and nothing else,
//! but for the routes that Nacos specifies. Owns the words in which routes describe themselves; serves no route.

use std::collections::BTreeMap;

use actix_web::http::{Method, StatusCode};
use callboard_protocol::error_code::ErrorCode;
use utoipa::ToSchema;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{
    Components, ContentBuilder, Info, License, Object, OpenApi, OpenApiBuilder, Paths, Ref, RefOr, Required,
};

use crate::api::error::entry_of;
use crate::http::problem::PROBLEM;
use crate::http::route::Route;

pub(crate) mod schema;

/// What any route may answer.
const COMMON: [ErrorCode; 6] = [
    ErrorCode::ForeignHost,
    ErrorCode::MalformedRequest,
    ErrorCode::NoSuchRoute,
    ErrorCode::MethodNotAllowed,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];
/// The schema of a problem document.
const PROBLEM_SCHEMA: &str = "Problem";

/// How a route describes itself.
pub(crate) struct Described {
    operation: OperationBuilder,
    refusals: Vec<ErrorCode>,
    schemas: Vec<(String, RefOr<Schema>)>,
}

impl Described {
    /// An operation named `id` in the part `tag` of the interface.
    pub(crate) fn new(tag: &str, id: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        Self { operation, refusals: COMMON.to_vec(), schemas: Vec::new() }
    }

    fn parameter(mut self, place: ParameterIn, name: &str, schema: ObjectBuilder, text: &str) -> Self {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new().name(name).parameter_in(place).required(required);
        self.operation = self.operation.parameter(parameter.schema(Some(schema)).description(Some(text)));
        self
    }

    /// A part of the path.
    pub(crate) fn path(self, name: &str, schema: ObjectBuilder, text: &str) -> Self {
        self.parameter(ParameterIn::Path, name, schema, text)
    }

    /// The namespace in the path.
    pub(crate) fn namespace(self) -> Self {
        self.path("namespace", schema::namespace(), "The namespace")
    }

    /// Namespace, group and data id in the path.
    pub(crate) fn key(self) -> Self {
        self.namespace().path("group", schema::group(), "The group").path("dataId", schema::data_id(), "The data id")
    }

    /// A parameter of the query, which may be left out.
    pub(crate) fn query(self, name: &str, schema: ObjectBuilder, text: &str) -> Self {
        self.parameter(ParameterIn::Query, name, schema, text)
    }

    /// A header of the request, which may be left out.
    pub(crate) fn header(self, name: &str, schema: ObjectBuilder, text: &str) -> Self {
        self.parameter(ParameterIn::Header, name, schema, text)
    }

    /// A body that is taken as it comes.
    pub(crate) fn body(mut self, media_types: &[&str], schema: ObjectBuilder, text: &str) -> Self {
        let schema = schema.build();
        let mut body = RequestBodyBuilder::new().description(Some(text)).required(Some(Required::True));
        for media_type in media_types {
            body = body.content(*media_type, ContentBuilder::new().schema(Some(schema.clone())).build());
        }
        self.operation = self.operation.request_body(Some(body.build()));
        self
    }

    /// A body of JSON.
    pub(crate) fn json_body<T: ToSchema>(mut self, text: &str) -> Self {
        let content = self.reference::<T>();
        let body = RequestBodyBuilder::new().description(Some(text)).required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.content("application/json", content).build()));
        self
    }

    fn reference<T: ToSchema>(&mut self) -> utoipa::openapi::Content {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        ContentBuilder::new().schema(Some(Ref::from_schema_name(T::name()))).build()
    }

    fn answer(mut self, status: u16, answer: ResponseBuilder) -> Self {
        self.operation = self.operation.response(status.to_string(), answer.build());
        self
    }

    /// An answer without a body.
    pub(crate) fn answers(self, status: u16, text: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(text))
    }

    /// An answer whose body has no schema.
    pub(crate) fn with_content(self, status: u16, text: &str, media_types: &[&str]) -> Self {
        let mut answer = ResponseBuilder::new().description(text);
        for media_type in media_types {
            answer = answer.content(*media_type, ContentBuilder::new().build());
        }
        self.answer(status, answer)
    }

    /// An answer of JSON.
    pub(crate) fn json<T: ToSchema>(mut self, status: u16, text: &str) -> Self {
        let content = self.reference::<T>();
        self.answer(status, ResponseBuilder::new().description(text).content("application/json", content))
    }

    /// An answer of JSON whose schema has no name.
    pub(crate) fn document(self, status: u16, text: &str, schema: ObjectBuilder) -> Self {
        let content = ContentBuilder::new().schema(Some(schema)).build();
        self.answer(status, ResponseBuilder::new().description(text).content("application/json", content))
    }

    /// Problems that the route may answer with, besides those of all routes.
    pub(crate) fn refuses(mut self, codes: &[ErrorCode]) -> Self {
        self.refusals.extend(codes);
        self
    }

    /// The finished operation, with an answer for each status of a problem.
    fn finish(self) -> (OperationBuilder, Vec<(String, RefOr<Schema>)>) {
        let mut by_status: BTreeMap<u16, Vec<&'static str>> = BTreeMap::new();
        for code in self.refusals {
            by_status.entry(entry_of(code).http).or_default().push(code.as_str());
        }
        let mut operation = self.operation;
        for (status, codes) in by_status.iter() {
            let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(PROBLEM_SCHEMA))).build();
            let text = format!("Code {}", codes.join(", "));
            let mut answer = ResponseBuilder::new().description(text).content(PROBLEM, content);
            if matches!(*status, 429 | 503) {
                let seconds = Object::with_type(Type::Integer);
                answer = answer.header("Retry-After", Header::new(seconds));
            }
            operation = operation.response(status.to_string(), answer.build());
        }
        // A head that is too slow or too large is answered before there is a request, and without a body.
        for status in [StatusCode::REQUEST_TIMEOUT, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE] {
            if !by_status.contains_key(&status.as_u16()) {
                let text = status.canonical_reason().unwrap_or_default();
                operation = operation.response(status.as_str(), ResponseBuilder::new().description(text).build());
            }
        }
        (operation, self.schemas)
    }
}

/// Describes every one of the routes that describes itself.
pub(crate) fn describe_all<'r>(routes: impl Iterator<Item = &'r Route>) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = Components::new();
    components.schemas.insert(PROBLEM_SCHEMA.to_owned(), schema::problem().into());
    for row in routes {
        let Some(describe) = row.describe else { continue };
        let described = if row.changes() { describe().refuses(&[ErrorCode::ForeignOrigin]) } else { describe() };
        let (operation, schemas) = described.finish();
        let access = format!("Needs access: {:?}", row.access).to_lowercase();
        let operation = operation.description(Some(access)).build();
        if row.method == Method::GET {
            paths.add_path_operation(row.path, vec![HttpMethod::Head], headers_alone(operation.clone()));
        }
        paths.add_path_operation(row.path, vec![method(&row.method)], operation);
        components.schemas.extend(schemas);
    }
    let mut info = Info::new("Callboard", env!("CARGO_PKG_VERSION"));
    let text = "A configuration centre. OPTIONS of any path is answered 204, with the methods that it takes in Allow.";
    info.description = Some(text.to_owned());
    info.license = Some(License::new("Apache-2.0"));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build()
}

/// What `HEAD` does where `GET` does this: the same, without a body. No session opens so.
fn headers_alone(mut operation: Operation) -> Operation {
    let id = operation.operation_id.unwrap_or_default();
    let subject = id.strip_prefix("get").unwrap_or(&id);
    let mut letters = subject.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    operation.operation_id = Some("head".chars().chain(first).chain(letters).collect());
    operation.summary = operation.summary.map(|summary| format!("{summary}: the headers alone"));
    operation.responses.responses.remove(StatusCode::SWITCHING_PROTOCOLS.as_str());
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            response.content.clear();
        }
    }
    operation
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::PUT => HttpMethod::Put,
        Method::POST => HttpMethod::Post,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}
