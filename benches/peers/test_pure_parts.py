"""Tests of what needs no other program: `python3 -m unittest discover -s benches/peers`."""

import ipaddress
import unittest
import xml.etree.ElementTree as xml

import chart
import processes
import ratios
import testdata
import workloads


def row(workload="HTTP/1.1", peer="nginx", figures=((8, 10), (9, 10), (10, 10)), void=""):
    """A row with these CPU times of both sides."""
    pairs = [tuple(workloads.Run(cpu, 1000.0, 0.9) for cpu in pair) for pair in figures]
    return ratios.Row(workload, peer, [] if void else pairs, void)


class Ratios(unittest.TestCase):
    def test_ratios_are_those_of_pairs_and_not_of_medians(self):
        # The machine was twice as slow in the last round, for both.
        ratio = ratios.ratio_of([(8, 10), (9, 10), (14, 20)])
        self.assertEqual((ratio.median, ratio.least, ratio.most), (0.8, 0.7, 0.9))

    def test_a_void_row_has_its_reason_and_no_figure(self):
        rows = [row(), row(void="3 keys were refused")]
        self.assertIn("0.900", ratios.as_table(rows))
        self.assertIn("void: 3 keys were refused", ratios.as_table(rows))
        first, second = ratios.as_json(rows)
        self.assertEqual(first["ratio"], {"median": 0.9, "least": 0.8, "most": 1.0})
        self.assertEqual(set(second), {"workload", "peer", "void"})


class Chart(unittest.TestCase):
    def test_each_ratio_is_a_bar_with_its_figures(self):
        rows = [row(peer="A & B"), row(peer="slow", figures=[(20, 10)]), row(peer="gone", void="reason")]
        picture = xml.fromstring(chart.as_svg(rows))
        name = "{http://www.w3.org/2000/svg}"
        texts = [text.text for text in picture.iter(f"{name}text")]
        widths = [float(bar.get("width")) for bar in picture.iter(f"{name}rect")][1:]
        self.assertIn("0.90 (0.80 to 1.00)", texts)
        self.assertIn("A & B", texts)
        self.assertNotIn("gone", texts)
        self.assertEqual(widths, [0.45 * chart.BAR_WIDTH, chart.BAR_WIDTH])

    def test_nothing_measured_is_still_a_picture(self):
        xml.fromstring(chart.as_svg([row(void="reason")]))


class Processes(unittest.TestCase):
    def test_fields_are_counted_behind_the_last_parenthesis(self):
        text = "42 (a) b (c) S 7 42 42 0 -1 4194560 100 0 0 0 150 50 5 3 20 0 4 0 1000"
        self.assertEqual(processes.parse_stat(text), processes.Stat(parent=7, ticks=208))

    def test_a_family_is_everything_below(self):
        parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1}
        self.assertEqual(processes.family(10, parents), [10, 11, 12])


class TestData(unittest.TestCase):
    def test_keys_differ_by_seed_and_are_the_same_every_time(self):
        first, again, other = testdata.make_keys(30), testdata.make_keys(30), testdata.make_keys(30, seed=3)
        self.assertEqual(first, again)
        self.assertEqual(len({key.text for key in first + other}), 60)

    def test_networks_are_a_thousand_and_apart(self):
        networks = [ipaddress.ip_network(text) for text in testdata.make_networks("127.0.0.0/8")]
        self.assertEqual(len(networks), testdata.NETWORKS)
        networks.sort()
        self.assertTrue(all(not a.overlaps(b) for a, b in zip(networks, networks[1:])))


class H2load(unittest.TestCase):
    REPORT = (
        "requests: 100 total, 100 started, 98 done, {good} succeeded, {failed} failed, 0 errored, 0 timeout\n"
        "status codes: {good} 2xx, 0 3xx, {refused} 4xx, 0 5xx\n"
    )

    def test_good_answers_are_counted(self):
        report = self.REPORT.format(good=98, failed=2, refused=0)
        self.assertEqual(workloads.parse_h2load(report, unanswered_at_the_end=64), 98)

    def test_anything_unexpected_makes_the_run_void(self):
        for good, failed, refused, allowed in ((98, 2, 0, 1), (97, 0, 1, 64)):
            report = self.REPORT.format(good=good, failed=failed, refused=refused)
            with self.assertRaises(workloads.Void):
                workloads.parse_h2load(report, unanswered_at_the_end=allowed)
        with self.assertRaises(workloads.Void):
            workloads.parse_h2load("nothing", unanswered_at_the_end=64)


if __name__ == "__main__":
    unittest.main()
