// Package mp4box makes boxes by hand, for tests.
package mp4box

import "encoding/binary"

// Box makes a box (ISO/IEC 14496-12, 4.2) of strings, bytes and integers of their own width.
func Box(typ string, content ...any) []byte {
	b := append(make([]byte, 4), typ...)
	for _, c := range content {
		switch c := c.(type) {
		case string:
			b = append(b, c...)
		case []byte:
			b = append(b, c...)
		default:
			var err error
			if b, err = binary.Append(b, binary.BigEndian, c); err != nil {
				panic(err)
			}
		}
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}
