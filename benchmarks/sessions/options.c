/* The command line. */

#define _GNU_SOURCE
#include "sessions.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

struct options option = { .host = "127.0.0.1", .layout = "u", .buffer = 65535, .credit = 99, .files = 1, .parallel = 1,
	.shaking = 32, .size = 1000 };

static void usage(void)
{
	fputs("sessions station --port N [options]: listen without TLS and answer sessions until SIGTERM\n"
	      "sessions partners --port N --certificate FILE --key FILE [options]: call, send files, print a result\n"
	      "\n"
	      "  --host ADDRESS       listen there, or call there [127.0.0.1]\n"
	      "  --buffer OCTETS      size of Exchange Buffers, 128 to 99999 [65535]\n"
	      "  --credit N           DATA buffers in a window, 1 to 999 [99]\n"
	      "  --layout u|f80|irregular|compressed\n"
	      "                       subrecords: full ones, records of 80, records of 1 to 200, the same compressed [u]\n"
	      "  --size OCTETS        of a file; about so many with records [1000]\n"
	      "  --files N            in a session, one after the other [1]\n"
	      "  --down               the station sends, the partners give the turn away; say it to both\n"
	      "  --seconds S          end the file under way, and begin no new one, after S seconds of a session;\n"
	      "                       with --sessions also: begin no new session\n"
	      "partners only:\n"
	      "  --plain              call without TLS: the station itself\n"
	      "  --authority FILE     verify the proxy's certificate by these [not at all]\n"
	      "  --name NAME          Server Name Indication [none]\n"
	      "  --parallel N         sessions at the same time [1]\n"
	      "  --sessions N         sessions in all [as many as at the same time]\n"
	      "  --burst OCTETS       write so much of DATA at once [each buffer by itself, as most programs do]\n"
	      "  --idle               send the files (--files 0: none), say \"resting N\", stay until standard input ends\n"
	      "  --together           open all sessions, say \"resting N\", and send when a line comes on standard input;\n"
	      "                       say \"octets N\" for each line after it: how many have arrived, by the credit\n"
	      "  --shaking N          sessions at a time that have not come so far yet [32]\n"
	      "  --quiet              no words about sessions that fail\n", stderr);
	exit(2);
}

static long number(const char *text, long least, long most)
{
	char *rest;
	long value = strtol(text, &rest, 10);

	if (*rest || rest == text || value < least || value > most) {
		fprintf(stderr, "sessions: %s is not a number from %ld to %ld\n", text, least, most);
		exit(2);
	}
	return value;
}

void read_options(int count, char **arguments)
{
	enum { HOST = 1, PORT, BUFFER, CREDIT, LAYOUT, SIZE, FILES, DOWN, SECONDS, PLAIN, AUTHORITY, NAME, PARALLEL,
		SESSIONS, BURST, IDLE, TOGETHER, SHAKING, QUIET, CERTIFICATE, KEY };
	static const struct option known[] = {
		{ "host", 1, 0, HOST }, { "port", 1, 0, PORT }, { "buffer", 1, 0, BUFFER }, { "credit", 1, 0, CREDIT },
		{ "layout", 1, 0, LAYOUT }, { "size", 1, 0, SIZE }, { "files", 1, 0, FILES }, { "down", 0, 0, DOWN },
		{ "seconds", 1, 0, SECONDS }, { "plain", 0, 0, PLAIN }, { "authority", 1, 0, AUTHORITY },
		{ "name", 1, 0, NAME }, { "parallel", 1, 0, PARALLEL }, { "sessions", 1, 0, SESSIONS },
		{ "burst", 1, 0, BURST }, { "idle", 0, 0, IDLE }, { "together", 0, 0, TOGETHER },
	 { "shaking", 1, 0, SHAKING }, { "quiet", 0, 0, QUIET },
		{ "certificate", 1, 0, CERTIFICATE }, { "key", 1, 0, KEY }, { 0, 0, 0, 0 } };
	int found;

	if (count < 2 || (strcmp(arguments[1], "station") && strcmp(arguments[1], "partners")))
		usage();
	option.station = !strcmp(arguments[1], "station");
	optind = 2;
	while ((found = getopt_long(count, arguments, "", known, NULL)) != -1) {
		switch (found) {
		case HOST: option.host = optarg; break;
		case PORT: option.port = (int)number(optarg, 1, 65535); break;
		case BUFFER: option.buffer = (int)number(optarg, 128, 99999); break;
		case CREDIT: option.credit = (int)number(optarg, 1, 999); break;
		case LAYOUT: option.layout = optarg; break;
		case SIZE: option.size = (uint64_t)number(optarg, 0, INT64_MAX); break;
		case FILES: option.files = (int)number(optarg, 0, INT32_MAX); break;
		case DOWN: option.down = true; break;
		case SECONDS: option.seconds = atof(optarg); break;
		case PLAIN: option.plain = true; break;
		case AUTHORITY: option.authority = optarg; break;
		case NAME: option.name = optarg; break;
		case PARALLEL: option.parallel = (int)number(optarg, 1, 100000); break;
		case SESSIONS: option.sessions = (uint64_t)number(optarg, 1, INT64_MAX); break;
		case BURST: option.burst = (size_t)number(optarg, 1, ROOM); break;
		case IDLE: option.idle = true; break;
		case TOGETHER: option.together = true; break;
		case SHAKING: option.shaking = (int)number(optarg, 1, 100000); break;
		case QUIET: option.quiet = true; break;
		case CERTIFICATE: option.certificate = optarg; break;
		case KEY: option.key = optarg; break;
		default: usage();
		}
	}
	if (optind != count || !option.port)
		usage();
	if (strcmp(option.layout, "u") && strcmp(option.layout, "f80") && strcmp(option.layout, "irregular")
		&& strcmp(option.layout, "compressed"))
		usage();
	if (!option.sessions)
		option.sessions = (uint64_t)option.parallel;
	if ((uint64_t)option.parallel > option.sessions)
		option.parallel = (int)option.sessions;
}
