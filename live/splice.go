package live

import (
	"encoding/binary"
	"fmt"
)

// checkSplice reports what is wrong with a splice_info_section (ANSI/SCTE 35, 9.6): its
// table_id, that it is as long as it says and no longer, and its CRC_32. What it commands
// is for players, and may be encrypted.
func checkSplice(b []byte) error {
	const (
		tableID = 0xfc
		least   = 3 + 11 + 2 + 4 // up to splice_command_type, an empty loop of descriptors, the CRC
	)
	if len(b) == 0 || b[0] != tableID {
		return fmt.Errorf("it does not begin with table_id 0xFC")
	}
	if len(b) < least {
		return fmt.Errorf("%d bytes, at least %d", len(b), least)
	}
	if b[1]&0xc0 != 0 {
		return fmt.Errorf("section_syntax_indicator or private_indicator is set")
	}
	if n := 3 + int(binary.BigEndian.Uint16(b[1:])&0xfff); n != len(b) {
		return fmt.Errorf("it says that it has %d bytes, and has %d", n, len(b))
	}
	if b[3] != 0 {
		return fmt.Errorf("protocol_version %d, where there is none but 0", b[3])
	}
	if crcMPEG(b) != 0 {
		return fmt.Errorf("its CRC_32 is wrong")
	}
	return nil
}

// crcMPEG is the CRC_32 of ISO/IEC 13818-1, annex A: of a section with its own at the
// end it is 0.
func crcMPEG(b []byte) uint32 {
	crc := ^uint32(0)
	for _, x := range b {
		crc ^= uint32(x) << 24
		for range 8 {
			top := crc >> 31
			crc = crc<<1 ^ top*0x04c11db7
		}
	}
	return crc
}
