/* The content of files: noise of a fixed seed, in DATA buffers that are made once and sent again and again. */

#include "sessions.h"

#include <string.h>

struct block full[VARIANTS], tail;
int variants = 1;
uint64_t full_blocks;

static uint32_t noise(void)
{
	static uint64_t state = 5024;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 16);
}

void put_header(unsigned char *at, size_t length)
{
	at[0] = 0x10;
	at[1] = (unsigned char)(length >> 16);
	at[2] = (unsigned char)(length >> 8);
	at[3] = (unsigned char)length;
}

static size_t put_subrecord(unsigned char *at, unsigned flags, size_t count)
{
	at[0] = (unsigned char)(flags | count);
	if (flags & 0x40) {
		at[1] = (unsigned char)noise();
		return 2;
	}
	for (size_t number = 1; number <= count; number++)
		at[number] = (unsigned char)noise();
	return count + 1;
}

/* A DATA buffer of at most `most` octets with at most `units` octets of the file, in whole records if it has any. */
static struct block make_block(size_t most, uint64_t units, bool last)
{
	struct block made = { .octets = memory(most + HEADER) };
	unsigned char *at = made.octets + HEADER, *end = at + most, *header = NULL;

	*at++ = 'D';
	if (!strcmp(option.layout, "u")) {
		while (end - at >= 2 && made.units < units) {
			size_t count = 63, left = (size_t)(end - at) - 1;

			count = count < left ? count : left;
			count = count < units - made.units ? count : (size_t)(units - made.units);
			header = at;
			at += put_subrecord(at, 0, count);
			made.units += count;
		}
		if (last && header)
			*header |= 0x80;
	} else {
		bool fixed = !strcmp(option.layout, "f80"), packed = !strcmp(option.layout, "compressed");

		while (made.units < units) {
			size_t length = fixed ? 80 : 1 + noise() % 200;

			if ((size_t)(end - at) < length + (length + 62) / 63)
				break;
			for (size_t left = length; left;) {
				size_t count = left < 63 ? left : 63;
				unsigned flags = left == count ? 0x80 : 0;

				if (packed && noise() % 4 == 0)
					flags |= 0x40;
				at += put_subrecord(at, flags, count);
				left -= count;
			}
			made.units += length;
			made.records++;
		}
	}
	made.length = (size_t)(at - made.octets);
	put_header(made.octets, made.length);
	return made;
}

void make_content(void)
{
	uint64_t all = option.size, units = 0;

	variants = strcmp(option.layout, "u") ? VARIANTS : 1;
	for (int number = 0; number < variants; number++) {
		full[number] = make_block((size_t)option.buffer, UINT64_MAX, false);
		units += full[number].units;
	}
	units /= (uint64_t)variants;
	if (!all) {
		tail.length = 0;
		return;
	}
	full_blocks = (all - 1) / units;
	tail = make_block((size_t)option.buffer, all - full_blocks * units, true);
}
