import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import javax.jms.Message;
import javax.jms.MessageConsumer;
import javax.jms.MessageProducer;
import javax.jms.Session;
import javax.jms.TextMessage;
import org.apache.activemq.ActiveMQConnection;

/** Message groups: JMSXGroupID binds messages to one consumer. */
final class Groups extends JmsTest {
    @Test
    void all_messages_of_a_group_go_to_one_consumer_in_order() throws Exception {
        Session session = auto(connect());
        List<MessageConsumer> consumers = consumers(3);
        for (int i = 0; i < 60; i++) {
            sendGrouped(session, "g" + i % 6, 0, "" + i);
        }
        Map<String, MessageConsumer> owners = new HashMap<>();
        Map<String, Integer> last = new HashMap<>();
        int count = 0;
        for (MessageConsumer consumer : consumers) {
            for (Message m = consumer.receive(MOMENT); m != null; m = consumer.receive(MOMENT)) {
                String group = m.getStringProperty("JMSXGroupID");
                int number = Integer.parseInt(((TextMessage) m).getText());
                check(owners.computeIfAbsent(group, g -> consumer) == consumer, group + " has two consumers");
                check(last.getOrDefault(group, -1) < number, group + " is out of order");
                last.put(group, number);
                count++;
            }
        }
        equal(60, count);
        equal(3L, owners.values().stream().distinct().count(), "consumers with groups");
    }

    @Test
    void only_the_first_message_of_a_group_says_that_it_is() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        sendGrouped(session, "g", 0, "0", "1", "2");
        equal(true, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
        equal(false, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
        equal(false, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
        sendGrouped(session, "other", 0, "3");
        equal(true, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
    }

    @Test
    void a_message_without_group_does_not_say_that_it_is_first() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        send(session, queue(), "plain");
        equal(false, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
    }

    @Test
    void a_negative_sequence_closes_the_group() throws Exception {
        Session session = auto(connect());
        MessageConsumer consumer = session.createConsumer(queue());
        sendGrouped(session, "g", 0, "0");
        equal(true, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
        sendGrouped(session, "g", -1, "closing");
        Message closing = take(consumer);
        equal("closing", ((TextMessage) closing).getText());
        equal(-1, closing.getIntProperty("JMSXGroupSeq"));
        sendGrouped(session, "g", 0, "again");
        equal(true, take(consumer).getBooleanProperty("JMSXGroupFirstForConsumer"));
    }

    @Test
    void the_group_moves_when_its_consumer_closes() throws Exception {
        Session session = auto(connect());
        List<MessageConsumer> consumers = consumers(2);
        sendGrouped(session, "g", 0, "0");
        MessageConsumer owner = take(consumers.get(0), consumers.get(1));
        MessageConsumer other = consumers.get(owner == consumers.get(0) ? 1 : 0);
        sendGrouped(session, "g", 0, "1");
        equal("1", takeText(owner));
        owner.close();
        sendGrouped(session, "g", 0, "2");
        Message moved = take(other);
        equal("2", ((TextMessage) moved).getText());
        equal(true, moved.getBooleanProperty("JMSXGroupFirstForConsumer"));
        sendGrouped(session, "g", 0, "3");
        equal(false, take(other).getBooleanProperty("JMSXGroupFirstForConsumer"));
    }

    @Test
    void what_the_owner_had_not_acknowledged_moves_with_the_group() throws Exception {
        ActiveMQConnection connection = connect();
        MessageConsumer owner = client(connection).createConsumer(queue());
        Session session = auto(connect());
        sendGrouped(session, "g", 0, "0", "1", "2");
        equal("0", takeText(owner));
        MessageConsumer other = auto(connect()).createConsumer(queue());
        nothing(other);
        connection.close();
        equal(List.of("0", "1", "2"), takeTexts(other, 3));
    }

    @Test
    void messages_without_group_go_to_the_consumer_with_fewer_groups() throws Exception {
        Session session = auto(connect());
        List<MessageConsumer> consumers = consumers(2);
        sendGrouped(session, "g", 0, "g0");
        MessageConsumer owner = take(consumers.get(0), consumers.get(1));
        MessageConsumer other = consumers.get(owner == consumers.get(0) ? 1 : 0);
        send(session, queue(), "a", "b", "c", "d");
        equal(List.of("a", "b", "c", "d"), takeTexts(other, 4));
        nothing(owner);
    }

    @Test
    void new_consumers_get_new_groups() throws Exception {
        Session session = auto(connect());
        MessageConsumer first = session.createConsumer(queue());
        for (int i = 0; i < 4; i++) {
            sendGrouped(session, "old" + i, 0, "old" + i);
        }
        equal(List.of("old0", "old1", "old2", "old3"), takeTexts(first, 4));
        MessageConsumer second = session.createConsumer(queue());
        for (int i = 0; i < 4; i++) {
            sendGrouped(session, "new" + i, 0, "new" + i);
        }
        sendGrouped(session, "old0", 0, "still old0");
        equal("still old0", takeText(first));
        equal(List.of("new0", "new1", "new2", "new3"), takeTexts(second, 4));
        nothing(first);
    }

    @Test
    void more_groups_than_the_broker_remembers_are_still_delivered() throws Exception {
        Session session = auto(connect());
        List<MessageConsumer> consumers = consumers(2);
        for (int i = 0; i < 1500; i++) {
            sendGrouped(session, "g" + i, 0, "" + i);
        }
        int count = 0;
        for (MessageConsumer consumer : consumers) {
            count += takeAll(consumer).size();
        }
        equal(1500, count);
    }

    @Test
    void a_group_in_a_transaction_stays_with_its_consumer_after_rollback() throws Exception {
        ActiveMQConnection connection = connect();
        Session session = transacted(connection);
        MessageConsumer owner = session.createConsumer(queue());
        Session sender = auto(connect());
        sendGrouped(sender, "g", 0, "0", "1");
        equal(List.of("0", "1"), takeTexts(owner, 2));
        MessageConsumer other = auto(connect()).createConsumer(queue());
        session.rollback();
        nothing(other);
        equal(List.of("0", "1"), takeTexts(owner, 2));
        session.commit();
    }

    private List<MessageConsumer> consumers(int count) throws Exception {
        List<MessageConsumer> consumers = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            consumers.add(auto(connect()).createConsumer(queue()));
        }
        return consumers;
    }

    private void sendGrouped(Session session, String group, int sequence, String... texts) throws Exception {
        MessageProducer producer = session.createProducer(queue());
        for (String text : texts) {
            Message message = session.createTextMessage(text);
            message.setStringProperty("JMSXGroupID", group);
            if (sequence != 0) {
                message.setIntProperty("JMSXGroupSeq", sequence);
            }
            producer.send(message);
        }
        producer.close();
    }

    /** Takes one message from whichever of the two gets it, and gives back which. */
    private static MessageConsumer take(MessageConsumer one, MessageConsumer two) throws Exception {
        MessageConsumer[] owner = new MessageConsumer[1];
        eventually("one of two got a message", () -> {
            for (MessageConsumer each : List.of(one, two)) {
                if (each.receiveNoWait() != null) {
                    owner[0] = each;
                }
            }
            return owner[0] != null;
        });
        return owner[0];
    }
}
