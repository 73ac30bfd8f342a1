//! DIMSE status codes (PS3.7 Annex C; PS3.4 B.2.3 for C-STORE).

use std::fmt;

/// A status of a DIMSE response, as sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

/// What a status means for the request (PS3.7 C.1 to C.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// Done: 0000.
    Success,
    /// Done, with a remark: 0001, 0107, 0116 and Bxxx.
    Warning,
    /// Not done.
    Failure,
    /// Not finished: FF00 and FF01, which no C-STORE may answer.
    Pending,
    /// Cancelled: FE00.
    Cancel,
}

impl Status {
    /// 0000.
    pub const SUCCESS: Self = Self(0x0000);
    /// 0110: processing failure.
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// 0111: duplicate SOP instance.
    pub const DUPLICATE_INSTANCE: Self = Self(0x0111);
    /// 0117: invalid SOP instance UID.
    pub const INVALID_INSTANCE: Self = Self(0x0117);
    /// 0122: SOP class not supported (on this context).
    pub const CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// 0124: not authorised.
    pub const NOT_AUTHORISED: Self = Self(0x0124);
    /// 0210: duplicate invocation.
    pub const DUPLICATE_INVOCATION: Self = Self(0x0210);
    /// 0211: unrecognised operation.
    pub const UNRECOGNISED_OPERATION: Self = Self(0x0211);
    /// 0212: mistyped argument.
    pub const MISTYPED_ARGUMENT: Self = Self(0x0212);
    /// 0213: resource limitation.
    pub const RESOURCE_LIMITATION: Self = Self(0x0213);
    /// A700: out of resources.
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// A900: data set does not match SOP class.
    pub const DATA_SET_MISMATCH: Self = Self(0xA900);
    /// C000: cannot understand.
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);

    /// What the status means for the request.
    pub fn class(self) -> StatusClass {
        match self.0 {
            0x0000 => StatusClass::Success,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusClass::Warning,
            0xFF00 | 0xFF01 => StatusClass::Pending,
            0xFE00 => StatusClass::Cancel,
            _ => StatusClass::Failure,
        }
    }

    /// Whether the peer has taken the instance: success or warning, nothing else (FF00 is a failure of a C-STORE).
    pub fn is_taken(self) -> bool {
        matches!(self.class(), StatusClass::Success | StatusClass::Warning)
    }

    /// The same status without the misprints of PS3.2 2024d, which has 0112 and 0214 for 0122 and 0124.
    ///
    /// In PS3.7 the number 0112 is "no such SOP instance", which answers no C-STORE, so nothing is confused.
    pub fn corrected(self) -> Self {
        match self.0 {
            0x0112 => Self::CLASS_NOT_SUPPORTED,
            0x0214 => Self::NOT_AUTHORISED,
            _ => self,
        }
    }

    /// The standard's name, in lower case.
    pub fn name(self) -> &'static str {
        match self.0 {
            0x0000 => "success",
            0x0001 => "requested optional attributes not supported",
            0x0105 => "no such attribute",
            0x0106 => "invalid attribute value",
            0x0107 => "attribute list error",
            0x0110 => "processing failure",
            0x0111 => "duplicate SOP instance",
            0x0112 => "no such SOP instance",
            0x0113 => "no such event type",
            0x0114 => "no such argument",
            0x0115 => "invalid argument value",
            0x0116 => "attribute value out of range",
            0x0117 => "invalid SOP instance UID",
            0x0118 => "no such SOP class",
            0x0119 => "class-instance conflict",
            0x0120 => "missing attribute",
            0x0121 => "missing attribute value",
            0x0122 => "SOP class not supported",
            0x0123 => "no such action type",
            0x0124 | 0x0214 => "not authorised",
            0x0210 => "duplicate invocation",
            0x0211 => "unrecognised operation",
            0x0212 => "mistyped argument",
            0x0213 => "resource limitation",
            0xB000 => "coercion of data elements",
            0xB006 => "elements discarded",
            0xB007 => "data set does not match SOP class (warning)",
            0xFE00 => "cancelled",
            0xFF00 | 0xFF01 => "pending",
            0xA700..=0xA7FF => "out of resources",
            0xA900..=0xA9FF => "data set does not match SOP class",
            0xC000..=0xCFFF => "cannot understand",
            _ if self.class() == StatusClass::Warning => "warning",
            _ => "failure",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X} ({})", self.0, self.name())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({:04X})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_80_pending_does_not_mean_that_an_instance_was_taken() {
        assert!(!Status(0xFF00).is_taken());
        assert!(Status::SUCCESS.is_taken() && Status(0xB007).is_taken() && Status(0x0107).is_taken());
        assert!(!Status(0xA700).is_taken() && !Status(0x0111).is_taken() && !Status(0x1234).is_taken());
    }

    #[test]
    fn the_misprints_of_part_2_are_read_as_what_was_meant() {
        assert_eq!(Status(0x0112).corrected(), Status::CLASS_NOT_SUPPORTED);
        assert_eq!(Status(0x0214).corrected(), Status::NOT_AUTHORISED);
        assert_eq!(Status(0xC123).corrected(), Status(0xC123));
        assert_eq!(Status(0xA7FF).to_string(), "A7FF (out of resources)");
    }
}
