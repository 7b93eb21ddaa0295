//! What a JSON message looks like, said once: the same declaration gives the serde struct, the check
//! of a request body and the schema in `/openapi.json`.
//!
//! It does not know about HTTP, nor which operation uses which message.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The type of a member, in the words of OpenAPI.
pub enum Type {
    /// Any text.
    Text,
    /// Text of at least one character.
    NonEmptyText,
    /// Text with a rule: its regular expression for the document, and the same as code.
    Pattern(&'static str, fn(&str) -> bool),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A 64-bit integer, within bounds (inclusive).
    Integer(i64, i64),
    /// True or false.
    Flag,
    /// An RFC 3339 instant.
    Instant,
    /// An object with members of any kind.
    Anything,
    /// An object whose members all have this type.
    Map(&'static Type),
    /// A list of at least so many.
    List(&'static Type, usize),
    /// This, or null.
    Nullable(&'static Type),
    /// A named object.
    Object(&'static Schema),
    /// Not JSON: a text body.
    PlainText,
    /// Not JSON: bytes.
    Bytes,
}

/// A named object type.
pub struct Schema {
    /// Name in `components.schemas`.
    pub name: &'static str,
    /// Its members. Members that are not listed are allowed and ignored (API-0.12).
    pub fields: &'static [Field],
}

/// One member of an object.
pub struct Field {
    /// As on the wire.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it holds.
    pub holds: Type,
}

/// Something that has a [`Type`].
pub trait Described {
    /// Its type on the wire.
    const TYPE: Type;
}

macro_rules! described {
    ($($rust:ty => $wire:expr),* $(,)?) => {
        $(impl Described for $rust { const TYPE: Type = $wire; })*
    };
}

described! {
    str => Type::Text,
    String => Type::Text,
    bool => Type::Flag,
    i64 => Type::Integer(i64::MIN, i64::MAX),
    u64 => Type::Integer(0, i64::MAX),
    usize => Type::Integer(0, i64::MAX),
    serde_json::Map<String, serde_json::Value> => Type::Anything,
}

impl<T: Described + ?Sized> Described for &T {
    const TYPE: Type = T::TYPE;
}
impl<T: Described + ToOwned + ?Sized> Described for Cow<'_, T> {
    const TYPE: Type = T::TYPE;
}
impl<T: Described> Described for Vec<T> {
    const TYPE: Type = Type::List(&T::TYPE, 0);
}
impl<T: Described> Described for BTreeMap<String, T> {
    const TYPE: Type = Type::Map(&T::TYPE);
}

/// Marks text that may not be empty, in messages that are only described.
pub enum NonEmpty {}
impl Described for NonEmpty {
    const TYPE: Type = Type::NonEmptyText;
}
/// Marks a list that may not be empty, in messages that are only described.
pub struct NonEmptyList<T>(std::marker::PhantomData<T>);
impl<T: Described> Described for NonEmptyList<T> {
    const TYPE: Type = Type::List(&T::TYPE, 1);
}
/// An instant as RFC 3339 spells it.
#[derive(serde::Serialize)]
#[serde(transparent)]
pub struct Instant(pub String);
impl Described for Instant {
    const TYPE: Type = Type::Instant;
}
/// A member that may be null, and is written as null when there is nothing.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(transparent)]
pub struct Nullable<T>(pub Option<T>);
impl<T: Described> Described for Nullable<T> {
    const TYPE: Type = Type::Nullable(&T::TYPE);
}

/// The name on the wire of a Rust member name.
pub const fn wire_name(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Declares a message that this server reads or writes: required members, then after a semicolon the
/// optional ones, which are left out when there is nothing to say.
macro_rules! message {
    ($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? {
        $($req:ident : $rty:ty),* $(,)? $(; $($opt:ident : $oty:ty),* $(,)?)?
    }) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        pub struct $name $(<$life>)? {
            $(pub $req: $rty,)*
            $($(#[serde(default, skip_serializing_if = "Option::is_none")] pub $opt: Option<$oty>,)*)?
        }
        $crate::schema::shape!(@describe $name $(<$life>)? { $($req : $rty),* ; $($($opt : $oty),*)? });
    };
}

/// Declares a message that is only described: requests and answers of operations that this server
/// does not offer yet, and lists, which are written by one generic struct.
macro_rules! shape {
    ($(#[$meta:meta])* $name:ident {
        $($req:ident : $rty:ty),* $(,)? $(; $($opt:ident : $oty:ty),* $(,)?)?
    }) => {
        $(#[$meta])*
        #[allow(non_snake_case)]
        pub enum $name {}
        $crate::schema::shape!(@describe $name { $($req : $rty),* ; $($($opt : $oty),*)? });
    };
    (@describe $name:ident $(<$life:lifetime>)? {
        $($req:ident : $rty:ty),* ; $($opt:ident : $oty:ty),*
    }) => {
        impl $(<$life>)? $crate::schema::Described for $name $(<$life>)? {
            const TYPE: $crate::schema::Type = $crate::schema::Type::Object(&$crate::schema::Schema {
                name: stringify!($name),
                fields: &[
                    $($crate::schema::Field {
                        name: $crate::schema::wire_name(stringify!($req)),
                        required: true,
                        holds: <$rty as $crate::schema::Described>::TYPE,
                    },)*
                    $($crate::schema::Field {
                        name: $crate::schema::wire_name(stringify!($opt)),
                        required: false,
                        holds: <$oty as $crate::schema::Described>::TYPE,
                    },)*
                ],
            });
        }
    };
}

/// Declares a text that is one of a few words.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $(#[serde(rename = $word)] $variant),* }
        impl $crate::schema::Described for $name {
            const TYPE: $crate::schema::Type = $crate::schema::Type::Choice(&[$($word),*]);
        }
    };
}

pub(crate) use {choice, message, shape};
