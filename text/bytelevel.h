/* The alphabet of byte-level BPE: each byte as one printable character (GPT-2's table), and back. */
#ifndef TEXT_BYTELEVEL_H
#define TEXT_BYTELEVEL_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stdint.h>

uint32_t bytelevel_char(unsigned char byte);
int bytelevel_byte(uint32_t code); /* -1: not in the alphabet */
void bytelevel_encode(struct buf *to, const char *bytes, size_t len);
/* Valid UTF-8 in, its bytes out. False, and nothing appended, if a character is not in the alphabet. */
bool bytelevel_decode(struct buf *to, const char *text, size_t len);

#endif
