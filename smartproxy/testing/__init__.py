"""The public test kit: certificates, stations, partners and faults for testing OFTP2 programs and SmartProxy itself."""
