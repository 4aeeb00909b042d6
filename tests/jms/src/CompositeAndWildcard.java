import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;
import org.apache.activemq.command.ActiveMQDestination;
import org.apache.activemq.command.ActiveMQMessage;
import org.apache.activemq.command.ActiveMQQueue;
import org.apache.activemq.command.ActiveMQTopic;

/** Names that stand for several destinations. */
final class CompositeAndWildcard extends JmsTest {
    private ActiveMQQueue composite(String... names) {
        List<String> full = new ArrayList<>();
        for (String each : names) {
            int at = each.indexOf("//") < 0 ? 0 : each.indexOf("//") + 2;
            full.add(each.substring(0, at) + name() + "." + each.substring(at));
        }
        return new ActiveMQQueue(String.join(",", full));
    }

    @Test
    void a_message_to_two_queues_arrives_in_both() throws Exception {
        Session session = auto(connect());
        sendNumbers(session, composite("A", "B"), 5);
        equal(numbers(0, 5), drain(queue("A")));
        equal(numbers(0, 5), drain(queue("B")));
    }

    @Test
    void a_message_goes_to_a_queue_and_a_topic_at_once() throws Exception {
        Session session = auto(connect());
        MessageConsumer topic = session.createConsumer(topic("T"));
        send(session, composite("A", "topic://T"), "both");
        equal("both", takeText(topic));
        equal(List.of("both"), drain(queue("A")));
    }

    @Test
    void copies_name_the_destination_they_came_through() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = auto(connection);
        MessageConsumer a = session.createConsumer(queue("A"));
        MessageConsumer b = session.createConsumer(queue("B"));
        Message sent = session.createTextMessage("x");
        session.createProducer(composite("A", "B")).send(sent);
        ActiveMQMessage inA = (ActiveMQMessage) take(a);
        ActiveMQMessage inB = (ActiveMQMessage) take(b);
        equal(queue("A"), inA.getJMSDestination());
        equal(queue("B"), inB.getJMSDestination());
        equal(composite("A", "B"), inA.getOriginalDestination());
        equal(composite("A", "B"), inB.getOriginalDestination());
        equal(sent.getJMSMessageID(), inA.getJMSMessageID());
        equal(sent.getJMSMessageID(), inB.getJMSMessageID());
    }

    @Test
    void a_composite_send_is_part_of_a_transaction() throws Exception {
        Session session = transacted(connect());
        send(session, composite("A", "B"), "dropped");
        session.rollback();
        send(session, composite("A", "B"), "kept");
        equal(List.of(), drain(queue("A")));
        session.commit();
        equal(List.of("kept"), drain(queue("A")));
        equal(List.of("kept"), drain(queue("B")));
    }

    @Test
    void a_consumer_of_two_queues_gets_from_both() throws Exception {
        Session session = auto(connect());
        MessageConsumer both = session.createConsumer(composite("A", "B"));
        send(session, queue("A"), "a");
        equal("a", takeText(both));
        send(session, queue("B"), "b");
        equal("b", takeText(both));
        both.close();
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
    }

    @Test
    void a_star_stands_for_one_part_of_a_queue_name() throws Exception {
        Session session = auto(connect());
        send(session, queue("A.x"), "A.x");
        send(session, queue("B.x"), "B.x");
        send(session, queue("A.y"), "A.y");
        send(session, queue("A.x.z"), "A.x.z");
        MessageConsumer consumer = session.createConsumer(queue("*.x"));
        equal(List.of("A.x", "B.x"), sorted(takeAll(consumer)));
        consumer.close();
        equal(List.of("A.y"), drain(queue("A.y")));
        equal(List.of("A.x.z"), drain(queue("A.x.z")));
        equal(List.of(), drain(queue("A.x")));
    }

    @Test
    void a_greater_sign_stands_for_the_rest_of_a_queue_name() throws Exception {
        Session session = auto(connect());
        send(session, queue("A"), "A");
        send(session, queue("A.b"), "A.b");
        send(session, queue("A.b.c"), "A.b.c");
        send(session, queue("B"), "B");
        MessageConsumer consumer = session.createConsumer(queue("A.>"));
        equal(List.of("A", "A.b", "A.b.c"), sorted(takeAll(consumer)));
    }

    @Test
    void a_wildcard_consumer_gets_from_queues_that_come_later() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue("later.>"));
        send(session, queue("later.A"), "a");
        equal("a", takeText(consumer));
        send(session, queue("later.B.c"), "b");
        Message message = take(consumer);
        equal("b", ((TextMessage) message).getText());
        equal(queue("later.B.c"), message.getJMSDestination());
    }

    @Test
    void a_wildcard_consumer_acknowledges_in_every_queue() throws Exception {
        ActiveMQConnection connection = connect("jms.prefetchPolicy.all=4");
        Session session = client(connection);
        Map<String, Integer> seen = new HashMap<>();
        MessageConsumer consumer = session.createConsumer(queue(">"));
        for (String each : List.of("A", "B", "C")) {
            sendNumbers(session, queue(each), 20);
        }
        for (int i = 0; i < 60; i++) {
            Message message = take(consumer);
            String from = ((ActiveMQDestination) message.getJMSDestination()).getPhysicalName();
            equal("" + seen.merge(from, 1, Integer::sum), "" + (Integer.parseInt(((TextMessage) message).getText()) + 1));
            if (i % 7 == 0) {
                message.acknowledge();
            }
        }
        nothing(consumer);
        session.recover();
        connection.close();
        equal(60, seen.values().stream().mapToInt(Integer::intValue).sum());
        int left = 0;
        for (String each : List.of("A", "B", "C")) {
            left += drain(queue(each)).size();
        }
        equal(60 - 57, left, "unacknowledged");
    }

    @Test
    void a_wildcard_and_a_plain_consumer_share_a_queue() throws Exception {
        Session session = auto(connect("jms.prefetchPolicy.all=1"));
        MessageConsumer wildcard = session.createConsumer(queue("*"));
        MessageConsumer plain = session.createConsumer(queue("A"));
        sendNumbers(session, queue("A"), 10);
        List<String> all = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            all.add(takeText(wildcard));
            all.add(takeText(plain));
        }
        equal(numbers(0, 10), sorted(all));
    }

    @Test
    void wildcards_of_topics() throws Exception {
        Session session = auto(connect());
        MessageConsumer star = session.createConsumer(topic("*.x"));
        MessageConsumer rest = session.createConsumer(topic("A.>"));
        MessageConsumer middle = session.createConsumer(topic("A.*.c"));
        MessageConsumer exact = session.createConsumer(topic("A.x"));
        for (String each : List.of("A", "A.x", "B.x", "A.b.c", "A.b.c.d")) {
            send(session, topic(each), each);
        }
        equal(List.of("A.x", "B.x"), takeAll(star));
        equal(List.of("A", "A.x", "A.b.c", "A.b.c.d"), takeAll(rest));
        equal(List.of("A.b.c"), takeAll(middle));
        equal(List.of("A.x"), takeAll(exact));
    }

    @Test
    void a_wildcard_consumer_of_topics_gets_each_message_once() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(
                new ActiveMQTopic(name() + ".A," + name() + ".>"));
        send(session, topic("A"), "one");
        equal(1, takeAll(consumer).size());
    }

    @Test
    void sending_to_a_wildcard_does_not_reach_what_it_matches() throws Exception {
        Session session = auto(connect());
        MessageConsumer a = session.createConsumer(queue("A"));
        MessageConsumer b = session.createConsumer(topic("B"));
        send(session, queue("*"), "all");
        send(session, topic("*"), "all");
        nothing(a);
        nothing(b);
    }

    @Test
    void a_selector_goes_with_a_wildcard() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue(">"), "i = 1");
        for (int i = 0; i < 3; i++) {
            TextMessage message = session.createTextMessage("" + i);
            message.setIntProperty("i", i);
            session.createProducer(queue("A")).send(message);
        }
        equal("1", takeText(consumer));
        nothing(consumer);
    }

    @Test
    void a_wildcard_consumer_in_a_transaction_is_rolled_back_in_every_queue() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        send(session, queue("A"), "a");
        send(session, queue("B"), "b");
        session.commit();
        MessageConsumer consumer = session.createConsumer(queue(">"));
        equal(List.of("a", "b"), sorted(takeTexts(consumer, 2)));
        session.rollback();
        equal(List.of("a", "b"), sorted(takeTexts(consumer, 2)));
        session.commit();
        connection.close();
        equal(List.of(), drain(queue("A")));
        equal(List.of(), drain(queue("B")));
    }

    private static List<String> sorted(List<String> texts) {
        List<String> sorted = new ArrayList<>(texts);
        Collections.sort(sorted);
        return sorted;
    }
}
