//! Arbitrary commands: a reader that takes no frame but throws dice for every field.

#![allow(dead_code, reason = "each test binary takes the part it needs")]

use std::sync::Arc;

use bytes::Bytes;
use openwired::openwire::fields::{Cacheable, FieldReader, Structure};
use openwired::openwire::{Command, Text, WireError, WireFormat};

/// Fields behind this level are left out where they can be.
const LEVELS_MAX: u32 = 4;

/// Makes a structure of `format`'s version out of `throws`; the same throws make the same structure,
/// and fewer or smaller ones a smaller structure, so that a failing test can be shrunk.
pub(crate) fn arbitrary(format: &WireFormat, throws: &[u8]) -> Command {
    let mut dice = Dice {
        version: format.version,
        stack_trace: format.stack_trace,
        throws: throws.iter(),
        level: 0,
    };
    let code = dice.code::<Command>();
    Command::read(code, &mut dice).unwrap_or_else(|error| panic!("dice never fail: {error}"))
}

struct Dice<'a> {
    version: u8,
    stack_trace: bool,
    throws: std::slice::Iter<'a, u8>,
    level: u32,
}

impl Dice<'_> {
    fn throw(&mut self) -> u8 {
        self.throws.next().copied().unwrap_or_default()
    }

    /// One of the types that `T` can be.
    fn code<T: Structure>(&mut self) -> u8 {
        let codes: Vec<_> = (1..=u8::MAX).filter(|code| T::has_code(*code, self.version)).collect();
        let chosen = usize::from(self.throw()) % codes.len();
        codes.get(chosen).copied().unwrap_or_default()
    }

    fn some_bytes(&mut self) -> Vec<u8> {
        let length = match self.throw() {
            0xFF => 5000,
            small => usize::from(small) % 20,
        };
        (0..length).map(|_| self.throw()).collect()
    }
}

impl FieldReader for Dice<'_> {
    fn version(&self) -> u8 {
        self.version
    }

    fn stack_trace(&self) -> bool {
        self.stack_trace
    }

    fn boolean(&mut self) -> Result<bool, WireError> {
        Ok(self.throw() % 2 == 1)
    }

    fn byte(&mut self) -> Result<i8, WireError> {
        Ok(self.throw().cast_signed())
    }

    fn short(&mut self) -> Result<i16, WireError> {
        Ok(i16::from_be_bytes([self.throw(), self.throw()]))
    }

    fn int(&mut self) -> Result<i32, WireError> {
        Ok(i32::from(self.short()?) << (self.throw() % 17) | i32::from(self.throw()))
    }

    /// All widths, and the edges between them.
    fn long(&mut self) -> Result<i64, WireError> {
        let bits = i64::from(self.int()?);
        Ok(match self.throw() % 8 {
            0 => 0,
            1 => 0xFFFF,
            2 => 0x1_0000,
            3 => 0xFFFF_FFFF,
            4 => 0x1_0000_0000,
            5 => i64::MIN | bits,
            _ => bits << (self.throw() % 33),
        })
    }

    fn string(&mut self) -> Result<Option<Text>, WireError> {
        Ok(match self.throw() % 8 {
            0 => None,
            1 => Some("".into()),
            2 => Some("nul\0 é € 😀".into()),
            3 => Some(Text::from_utf16([0xD83D, u16::from(self.throw())])),
            _ => Some(Text::from_latin1(&self.some_bytes())),
        })
    }

    fn bytes(&mut self) -> Result<Option<Bytes>, WireError> {
        Ok(self.boolean()?.then(|| self.some_bytes().into()))
    }

    fn magic(&mut self) -> Result<[u8; 8], WireError> {
        Ok([self.throw(); 8])
    }

    fn nested<T: Structure>(&mut self) -> Result<Option<T>, WireError> {
        if self.level > LEVELS_MAX || !self.boolean()? {
            return Ok(None);
        }
        let code = self.code::<T>();
        self.deeper(|dice| T::read(code, dice)).map(Some)
    }

    fn cached<T: Cacheable>(&mut self) -> Result<Option<Arc<T>>, WireError> {
        self.nested()
    }

    fn count(&mut self, _: usize) -> Result<usize, WireError> {
        Ok(usize::from(self.throw() % 4))
    }

    fn deeper<T>(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        self.level += 1;
        let made = inner(self);
        self.level -= 1;
        made
    }

    fn throwable(&mut self) -> Result<Option<openwired::openwire::Throwable>, WireError> {
        if self.level > LEVELS_MAX || !self.boolean()? {
            return Ok(None);
        }
        self.deeper(openwired::openwire::Throwable::read).map(Some)
    }
}
