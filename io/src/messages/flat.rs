//! Messages whose fields are the stream entry's fields: readable with `XRANGE`, and written by anybody with `XADD`.

use std::fmt;

use serde::{
    Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor},
};
use serde_json::Value;

use super::codec::{CodecError, Decode, Encode, Payload, header};

/// Each field of a struct (or entry of a map) as a field of the stream entry, in the order of the names. Strings, numbers and booleans stand there
/// as their own text, `None` does not stand there at all, everything else as JSON.
///
/// What is read back is guided by the type: the text `7` is a number where a number is expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flat;

impl<T: Serialize + ?Sized> Encode<T> for Flat {
    fn encode(&self, message: &T, payload: &mut Payload) -> Result<(), CodecError> {
        let Value::Object(members) = serde_json::to_value(message)? else {
            return Err(
                "only a struct or a map with text keys has fields: wrap it in one, or use the codec `Json`".into()
            );
        };
        for (name, value) in members {
            if header::is_one(name.as_bytes()) {
                return Err(format!("the field `{name}` has the name of a header: rename it").into());
            }
            match value {
                Value::Null => {}
                Value::String(text) => payload.push(name, text),
                other => payload.push(name, other.to_string()),
            }
        }
        if payload.fields().is_empty() {
            return Err("it has no field, and an entry without fields cannot be stored".into());
        }
        Ok(())
    }
}

impl<T: DeserializeOwned> Decode<T> for Flat {
    fn decode(&self, fields: &[(Vec<u8>, Vec<u8>)]) -> Result<T, CodecError> {
        Ok(T::deserialize(Entry(fields))?)
    }
}

/// What is wrong, with the name of the field.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(text: T) -> Wrong {
        Wrong(text.to_string())
    }
}

/// All fields.
struct Entry<'a>(&'a [(Vec<u8>, Vec<u8>)]);

impl<'de> de::Deserializer<'de> for Entry<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(Members { rest: self.0, named: None, current: None })
    }

    /// A field `key` that the struct does not name is a header.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_map(Members { rest: self.0, named: Some(fields), current: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map enum identifier ignored_any
    }
}

struct Members<'a> {
    rest: &'a [(Vec<u8>, Vec<u8>)],
    named: Option<&'static [&'static str]>,
    current: Option<&'a (Vec<u8>, Vec<u8>)>,
}

impl<'de> MapAccess<'de> for Members<'_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Wrong> {
        while let Some((member, rest)) = self.rest.split_first() {
            self.rest = rest;
            let unnamed_key =
                member.0 == header::KEY.as_bytes() && self.named.is_some_and(|named| !named.contains(&header::KEY));
            if header::is_one(&member.0) || unnamed_key {
                continue;
            }
            self.current = Some(member);
            let name: &str = &String::from_utf8_lossy(&member.0);
            return seed.deserialize(IntoDeserializer::<Wrong>::into_deserializer(name)).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, value) = self.current.take().ok_or_else(|| Wrong("a value without a name".to_owned()))?;
        let name = String::from_utf8_lossy(name);
        let text = std::str::from_utf8(value).map_err(|_| Wrong(format!("the field `{name}` is not UTF-8")))?;
        seed.deserialize(Text(text)).map_err(|Wrong(why)| Wrong(format!("the field `{name}`: {why}")))
    }
}

/// The text of one field.
struct Text<'a>(&'a str);

impl Text<'_> {
    /// As the JSON that it is.
    fn json(&self) -> Result<Value, Wrong> {
        serde_json::from_str(self.0).map_err(|e| Wrong(format!("no JSON: {e}")))
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:literal),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(Wrong(format!(concat!("`{}` is no ", $type), self.0))),
            }
        })*
    };
}

macro_rules! as_json {
    ($($method:ident($($argument:ty),*)),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* visitor: V) -> Result<V::Value, Wrong> {
            de::Deserializer::deserialize_any(self.json()?, visitor).map_err(|e| Wrong(e.to_string()))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Text<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if variants.contains(&self.0) {
            return visitor.visit_enum(IntoDeserializer::<Wrong>::into_deserializer(self.0));
        }
        de::Deserializer::deserialize_enum(self.json()?, name, variants, visitor).map_err(|e| Wrong(e.to_string()))
    }

    parsed! {
        deserialize_bool visit_bool "boolean",
        deserialize_i8 visit_i8 "number of that size", deserialize_i16 visit_i16 "number of that size",
        deserialize_i32 visit_i32 "number of that size", deserialize_i64 visit_i64 "number of that size",
        deserialize_i128 visit_i128 "number of that size",
        deserialize_u8 visit_u8 "number of that size", deserialize_u16 visit_u16 "number of that size",
        deserialize_u32 visit_u32 "number of that size", deserialize_u64 visit_u64 "number of that size",
        deserialize_u128 visit_u128 "number of that size",
        deserialize_f32 visit_f32 "number", deserialize_f64 visit_f64 "number",
        deserialize_char visit_char "single character",
    }

    as_json! {
        deserialize_unit(), deserialize_unit_struct(&'static str), deserialize_seq(), deserialize_tuple(usize),
        deserialize_tuple_struct(&'static str, usize), deserialize_map(),
        deserialize_struct(&'static str, &'static [&'static str]),
    }

    serde::forward_to_deserialize_any! { str string bytes byte_buf identifier ignored_any }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    enum Speed {
        Slow,
        Fast { by: u8 },
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Order {
        name: String,
        digits: String,
        count: u32,
        price: f64,
        paid: bool,
        note: Option<String>,
        lines: Vec<u8>,
        speed: Speed,
    }

    fn order() -> Order {
        Order {
            name: "tea \u{fe} \n".to_owned(),
            digits: "007".to_owned(),
            count: 3,
            price: 1.5,
            paid: true,
            note: None,
            lines: vec![1, 2],
            speed: Speed::Slow,
        }
    }

    fn text(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        fields.iter().map(|(field, value)| (text(field), text(value))).collect()
    }

    fn fields(pairs: &[(&str, &str)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        pairs.iter().map(|(field, value)| (field.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_struct_stands_there_field_by_field_and_comes_back() {
        for order in [order(), Order { note: Some(String::new()), speed: Speed::Fast { by: 2 }, ..order() }] {
            let mut payload = Payload::default();
            Flat.encode(&order, &mut payload).unwrap();
            let seen: BTreeMap<_, _> = text(payload.fields()).into_iter().collect();
            assert_eq!((&*seen["count"], &*seen["digits"], &*seen["lines"]), ("3", "007", "[1,2]"));
            assert_eq!(seen.contains_key("note"), order.note.is_some());
            payload.push("h:tenant", "x");
            payload.push("key", "y");
            assert_eq!(Decode::<Order>::decode(&Flat, payload.fields()).unwrap(), order);
        }
    }

    #[test]
    fn a_map_is_all_fields_but_headers() {
        let fields = fields(&[("a", "1"), ("h:tenant", "x"), ("traceparent", "y"), ("key", "k")]);
        let map: BTreeMap<String, String> = Flat.decode(&fields).unwrap();
        assert_eq!(map.into_iter().collect::<Vec<_>>(), [("a".into(), "1".into()), ("key".into(), "k".into())]);
    }

    #[test]
    fn a_struct_may_refuse_fields_that_it_does_not_name() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Strict {
            a: u8,
        }
        let decode = |pairs: &[(&str, &str)]| Decode::<Strict>::decode(&Flat, &fields(pairs)).map(|s| s.a);
        assert_eq!(decode(&[("a", "1"), ("key", "k"), ("h:x", "y")]).unwrap(), 1);
        assert!(decode(&[("a", "1"), ("b", "k")]).unwrap_err().to_string().contains("unknown field `b`"));
    }

    #[test]
    fn what_is_wrong_is_said_with_the_fields_name() {
        let good = {
            let mut payload = Payload::default();
            Flat.encode(&order(), &mut payload).unwrap();
            payload.fields().to_vec()
        };
        for (field, value, why) in [
            ("count", "many", "the field `count`: `many` is no number of that size"),
            ("count", "-1", "the field `count`: `-1` is no number of that size"),
            ("paid", "yes", "the field `paid`: `yes` is no boolean"),
            ("lines", "[1", "the field `lines`: no JSON"),
            ("speed", "Medium", "the field `speed`: no JSON"),
        ] {
            let mut bad = good.clone();
            bad.iter_mut().find(|(name, _)| name == field.as_bytes()).unwrap().1 = value.into();
            let error = Decode::<Order>::decode(&Flat, &bad).unwrap_err().to_string();
            assert!(error.starts_with(why), "{error}");
        }
        let missing = Decode::<Order>::decode(&Flat, &good[1..]).unwrap_err().to_string();
        assert!(missing.contains("missing field"), "{missing}");
        let bytes = [(b"name".to_vec(), b"\xff".to_vec())];
        let error = Decode::<Order>::decode(&Flat, &bytes).unwrap_err().to_string();
        assert_eq!(error, "the field `name` is not UTF-8");
    }

    #[test]
    fn what_has_no_fields_is_refused() {
        let mut payload = Payload::default();
        assert!(Flat.encode(&7, &mut payload).is_err());
        assert!(Flat.encode(&BTreeMap::<String, u8>::new(), &mut payload).is_err());
        assert!(Flat.encode(&BTreeMap::from([("h:a", 1)]), &mut payload).is_err());
        assert_eq!(payload, Payload::default());
    }
}
