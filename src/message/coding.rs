//! `Content-Encoding`: decoded when a body is built, encoded when a built body goes out and the
//! header still asks for it (spec 01 §2.3 rule 3, §15.7).

use super::{Fault, header_text};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use std::io::{Read, Write};

/// Most codings on one body.
const MOST: usize = 3;
/// Smallest and largest first buffer for a decoded body, in bytes.
const FIRST: (usize, usize) = (1024, 1 << 20);

/// One coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
}

/// The codings of a header value, in the order in which they were applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Codings {
    list: [Option<Coding>; MOST],
}

impl Codings {
    /// Reads all `Content-Encoding` headers.
    ///
    /// # Errors
    /// As [`Codings::parse`].
    pub fn of(headers: &HeaderMap) -> Result<Codings, Fault> {
        Codings::read(headers.get_all(CONTENT_ENCODING).iter().map(header_text))
    }

    /// Reads a header value.
    ///
    /// # Errors
    /// The name of a coding that is not known, or a value with too many codings.
    pub fn parse(value: &str) -> Result<Codings, Fault> {
        Codings::read(std::iter::once(value))
    }

    fn read<'a>(values: impl Iterator<Item = &'a str>) -> Result<Codings, Fault> {
        let mut codings = Codings::default();
        let mut used = 0;
        let names = values.flat_map(|value| value.split(',')).map(str::trim);
        for name in names.filter(|n| !n.is_empty()) {
            let coding = match name.to_ascii_lowercase().as_str() {
                "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                "br" => Coding::Brotli,
                _ => {
                    return Err(Fault::mediation(format!(
                        "Content-Encoding {name} cannot be decoded; send the body without it, or do not read the body in the flow"
                    ))
                    .of_client());
                }
            };
            match codings.list.get_mut(used) {
                Some(slot) => *slot = Some(coding),
                None => {
                    return Err(Fault::mediation(format!(
                        "Content-Encoding names more than {MOST} codings"
                    ))
                    .of_client());
                }
            }
            used += 1;
        }
        Ok(codings)
    }

    /// Whether the bytes are as they are.
    pub fn is_identity(self) -> bool {
        self == Codings::default()
    }

    /// The bytes without their codings.
    ///
    /// # Errors
    /// Bytes that are not what the header says, and more than `limit` of them after decoding.
    pub fn decode(self, bytes: &Bytes, limit: usize) -> Result<Bytes, Fault> {
        let mut bytes = bytes.clone();
        for coding in self.list.iter().rev().flatten() {
            bytes = coding.decode(&bytes, limit)?;
        }
        Ok(bytes)
    }

    /// The bytes with all codings.
    ///
    /// # Errors
    /// None in practice: everything is in memory.
    pub fn encode(self, bytes: Bytes) -> Result<Bytes, Fault> {
        let mut bytes = bytes;
        for coding in self.list.iter().flatten() {
            bytes = coding
                .encode(&bytes)
                .map_err(|e| Fault::mediation(format!("the body cannot be compressed: {e}")))?
                .into();
        }
        Ok(bytes)
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
        }
    }

    fn decode(self, bytes: &Bytes, limit: usize) -> Result<Bytes, Fault> {
        let input = bytes.as_ref();
        let broken = |e: std::io::Error| {
            Fault::mediation(format!("the body is not {}: {e}", self.name())).of_client()
        };
        match self {
            Coding::Gzip => read(flate2::read::MultiGzDecoder::new(input), input.len(), limit),
            Coding::Brotli => read(brotli::Decompressor::new(input, 8192), input.len(), limit),
            // "deflate" means zlib, but some senders leave its frame away.
            Coding::Deflate if zlib_header(input) => {
                read(flate2::read::ZlibDecoder::new(input), input.len(), limit)
            }
            Coding::Deflate => read(flate2::read::DeflateDecoder::new(input), input.len(), limit),
        }
        .map_err(broken)?
        .map(Bytes::from)
        .ok_or_else(|| Fault::too_large(limit))
    }

    fn encode(self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let level = flate2::Compression::default();
        let out = Vec::with_capacity(bytes.len() / 2 + 64);
        match self {
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(out, level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Coding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(out, level);
                encoder.write_all(bytes)?;
                encoder.finish()
            }
            Coding::Brotli => {
                let mut encoder = brotli::CompressorWriter::new(out, 8192, 5, 20);
                encoder.write_all(bytes)?;
                encoder.flush()?;
                Ok(encoder.into_inner())
            }
        }
    }
}

/// Reads to the end; `None` when there is more than the limit.
fn read(decoder: impl Read, input: usize, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let first = input
        .saturating_mul(2)
        .clamp(FIRST.0, FIRST.1)
        .min(limit.saturating_add(1));
    let mut out = Vec::with_capacity(first);
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut out)?;
    Ok((out.len() <= limit).then_some(out))
}

fn zlib_header(input: &[u8]) -> bool {
    match input {
        [first, second, ..] => {
            first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_undone_in_reverse_order() {
        let text = Bytes::from_static(b"hello hello hello hello hello");
        for value in [
            "gzip", "deflate", "br", "X-GZIP", "gzip, br", "identity", "",
        ] {
            let codings = Codings::parse(value).unwrap();
            let packed = codings.encode(text.clone()).unwrap();
            assert_eq!(packed == text, codings.is_identity(), "{value}");
            assert_eq!(codings.decode(&packed, 1000).unwrap(), text, "{value}");
        }
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        raw.write_all(&text).unwrap();
        let raw = Bytes::from(raw.finish().unwrap());
        assert_eq!(
            Codings::parse("deflate")
                .unwrap()
                .decode(&raw, 1000)
                .unwrap(),
            text
        );
    }

    #[test]
    fn a_bomb_hits_the_limit_and_garbage_is_a_fault() {
        let bomb = Bytes::from(vec![b' '; 1 << 20]);
        for value in ["gzip", "deflate", "br"] {
            let codings = Codings::parse(value).unwrap();
            let packed = codings.encode(bomb.clone()).unwrap();
            assert!(packed.len() < 5000);
            let fault = codings.decode(&packed, 100_000).unwrap_err();
            assert_eq!(fault.status, Some(413), "{value}");
            assert_eq!(codings.decode(&packed, 1 << 20).unwrap(), bomb, "{value}");
            let fault = codings
                .decode(&Bytes::from_static(b"\x00garbage"), 1000)
                .unwrap_err();
            assert_eq!(fault.code, 0, "{value}");
        }
        let mut headers = HeaderMap::new();
        assert!(Codings::of(&headers).unwrap().is_identity());
        for value in ["gzip", "br"] {
            headers.append(CONTENT_ENCODING, http::HeaderValue::from_static(value));
        }
        assert_eq!(
            Codings::of(&headers).unwrap(),
            Codings::parse("gzip, br").unwrap()
        );
        assert!(Codings::parse("zstd").is_err());
        assert!(Codings::parse("gzip,gzip,gzip,gzip").is_err());
    }
}
